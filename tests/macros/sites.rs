//! What the link-time registry knows of the annotated functions.

use lock_runtime::{Mode, SITES, Site, locked};

use crate::R;

struct Board<T>(T);

impl<T: AsRef<[u8]> + Sync> Board<T> {
    #[locked("site-test:{self.0.as_ref().len()}:<n:03>", "site-test:{{n}}")]
    async fn method(&self, n: u8) -> R {
        Ok(())
    }
}

#[locked("site-test-shared", shared)]
fn free() -> R {
    Ok(())
}

#[locked(permits = LIMIT + 1)]
async fn site_test_bare() -> R {
    Ok(())
}

const LIMIT: u32 = 3;

fn site_of(template: &str) -> &'static Site {
    let mut sites = SITES.iter().filter(|site| site.templates()[0] == template);
    let site = sites.next().unwrap();
    assert!(sites.next().is_none(), "one site per function");
    site
}

#[test]
fn every_function_is_registered_once() {
    let method = site_of("site-test:{self.0.as_ref().len()}:{n:03}");
    assert_eq!(method.templates()[1], "site-test:{{n}}");
    assert!(method.function().ends_with("::method"), "{method}");
    assert!(method.function().contains("sites::Board"), "{method}");
    assert_eq!(method.file(), file!());
    assert_eq!(method.line(), 10);
    assert_eq!(method.mode(), Mode::Exclusive);

    drop(Board("a").method(1));

    let free = site_of("site-test-shared");
    let _: fn() -> R = self::free;
    assert_eq!(free.function(), concat!(module_path!(), "::free"));
    assert_eq!(free.mode(), Mode::Shared);

    let bare = site_of(concat!(module_path!(), "::site_test_bare"));
    drop(site_test_bare());
    assert_eq!(bare.function(), bare.templates()[0]);
    assert!(matches!(bare.mode(), Mode::Permits(number) if number.get() == 4));
}
