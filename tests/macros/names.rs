//! Templates, and that `lock_name!` makes the very same names.

use lock_runtime::{LockError, lock_name, locked};

use crate::{R, name_of, on_memory};

#[locked("turn:{game}:<player>", guard = held)]
async fn turn(game: &str, player: u8) -> R<String> {
    Ok(name_of(held))
}

#[locked("{a}:{b}/<c>#{d}", guard = held)]
fn separators(a: &str, b: &str, c: &str, d: &str) -> R<String> {
    Ok(name_of(held))
}

#[tokio::test]
async fn both_make_the_same_name() {
    on_memory(async |_| {
        for game in ["chess", "a:b", "50%", "a b", "", "ä/#"] {
            let player = 3;
            let name = lock_name!("turn:{game}:{player}").unwrap();
            assert_eq!(turn(game, player).await.unwrap(), name.as_str());
            let name = lock_name!("turn:<game>:{who}", who = 1 + 2).unwrap();
            assert_eq!(turn(game, player).await.unwrap(), name.as_str());
        }
        assert_eq!(lock_name!("plain").unwrap().as_str(), "plain");
        let _: LockError = lock_name!("{long}", long = "x".repeat(600)).unwrap_err();
    })
    .await;
}

#[tokio::test]
async fn values_cannot_forge_names() {
    on_memory(async |_| {
        let plain = separators("a", "b", "c", "d").unwrap();
        assert_eq!(plain, "a:b/c#d");
        for parts in [
            ["a:b/c#d", "", "", ""],
            ["a:b", "c", "d", ""],
            ["a", "b/c", "", "d"],
        ] {
            let [a, b, c, d] = parts;
            assert_ne!(separators(a, b, c, d).unwrap(), plain);
        }
        assert_ne!(
            separators("a%3Ab", "", "", "").unwrap(),
            separators("a:b", "", "", "").unwrap()
        );
    })
    .await;
}

#[locked("{{{n}}}:<<{n:03}>>:{n:#x}:{text:?}:{n:>width$}:<n:*^5>", guard = held)]
async fn formats(n: u8, text: &str, width: usize) -> R<String> {
    Ok(name_of(held))
}

#[tokio::test]
async fn formats_and_escapes() {
    on_memory(async |_| {
        let name = formats(7, "a", 2).await.unwrap();
        assert_eq!(name, "{7}:<007>:0x7:\"a\":%207:**7**");
    })
    .await;
}

struct Shard {
    kind: String,
}

impl Shard {
    fn kind(&self) -> String {
        self.kind.clone()
    }

    #[locked("shard:{n:03}:{kind}", kind = self.kind().as_str(), guard = held)]
    async fn named(&self, n: u8) -> R<String> {
        Ok(name_of(held))
    }

    #[locked("a:{kind}:{n}", "b:{kind}", kind = counted(calls), n = 1, guard = held)]
    async fn shared_argument(&self, calls: &mut u8) -> R<Vec<String>> {
        Ok(held.names().map(|name| name.as_str().to_owned()).collect())
    }
}

fn counted(calls: &mut u8) -> String {
    *calls += 1;
    "k".to_owned()
}

#[tokio::test]
async fn named_arguments() {
    on_memory(async |_| {
        let shard = Shard {
            kind: "x".to_owned(),
        };
        assert_eq!(shard.named(7).await.unwrap(), "shard:007:x");
        let mut calls = 0;
        let names = shard.shared_argument(&mut calls).await.unwrap();
        assert_eq!(names, ["a:k:1", "b:k"]);
        assert_eq!(calls, 1);
    })
    .await;
}

#[locked("acct:{from}", "acct:{to}", guard = held)]
async fn transfer(from: u8, to: u8) -> R<Vec<String>> {
    Ok(held.names().map(|name| name.as_str().to_owned()).collect())
}

#[tokio::test]
async fn several_names_are_sorted_and_taken_once() {
    on_memory(async |_| {
        assert_eq!(transfer(2, 1).await.unwrap(), ["acct:1", "acct:2"]);
        assert_eq!(transfer(1, 1).await.unwrap(), ["acct:1"]);
    })
    .await;
}
