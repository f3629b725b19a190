//! User code whose names look like ours, or like the standard library's.

use lock_runtime::locked;

use crate::{R, no_prelude, on_memory};

#[locked("{__section}:{__entry}:{__name}:{__error}", guard = __held)]
async fn names_like_ours(__section: u8, __entry: u8, __name: u8, __error: u8) -> R<usize> {
    let __output = __held.name().map(|name| name.as_str().len());
    Ok(__output.unwrap() + usize::from(__section + __entry + __name + __error))
}

#[locked("{__section}:{__entry}:{__name}:{__error}", guard = __held)]
fn names_like_ours_sync(__section: u8, __entry: u8, __name: u8, __error: u8) -> R<usize> {
    let __output = __held.name().map(|name| name.as_str().len());
    Ok(__output.unwrap() + usize::from(__section + __entry + __name + __error))
}

mod items_like_ours {
    use crate::R;
    use lock_runtime::locked;

    pub(super) static __LOCK_SITE: u8 = 7;

    pub(super) fn __lock_site() -> u8 {
        8
    }

    #[locked("items")]
    pub(super) async fn sees_its_own() -> R<u8> {
        Ok(__LOCK_SITE + __lock_site())
    }
}

#[tokio::test]
async fn our_names_are_not_the_users() {
    on_memory(async |_| {
        assert_eq!(names_like_ours(1, 2, 3, 4).await.unwrap(), 17);
        assert_eq!(names_like_ours_sync(1, 2, 3, 4).unwrap(), 17);
        assert_eq!(items_like_ours::sees_its_own().await.unwrap(), 15);
    })
    .await;
}

/// A service with an `auth` of its own would be misread, but nothing else may be.
mod renamed {
    pub(super) mod far {
        pub(crate) use lock_runtime as locks;
    }

    use far::locks::{auth, locked as exclusive};

    #[exclusive("renamed:{id}", crate = crate::hygiene::renamed::far::locks)]
    pub(super) async fn below_a_path(id: u8) -> crate::R<u8> {
        Ok(id)
    }

    #[auth(crate = crate::hygiene::renamed::far::locks)]
    pub(super) fn requires_caller() -> crate::R {
        Ok(())
    }

    pub(super) fn name() -> String {
        let name = far::locks::lock_name!("renamed:{n}", n = 1, crate = self::far::locks);
        name.unwrap().as_str().to_owned()
    }
}

#[tokio::test]
async fn a_renamed_runtime() {
    on_memory(async |_| {
        assert_eq!(renamed::below_a_path(1).await.unwrap(), 1);
        assert!(renamed::requires_caller().unwrap_err().is_unauthenticated());
        assert_eq!(renamed::name(), "renamed:1");
    })
    .await;
}

#[tokio::test]
async fn without_a_prelude() {
    on_memory(async |_| {
        assert_eq!(no_prelude::asynchronous(1).await.unwrap(), 1);
        assert_eq!(no_prelude::blocking(2).unwrap(), 2);
        assert_eq!(no_prelude::own_path().await.unwrap(), 1);
        no_prelude::with_caller().unwrap_err();
        assert_eq!(no_prelude::name().unwrap().as_str(), "1");
    })
    .await;
}
