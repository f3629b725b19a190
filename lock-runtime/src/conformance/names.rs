//! S7: different values give different names, and a store keeps different names apart.

use super::case::{Failure, Outcome, cases, ensure};
use super::stage::{Stage, is_free};
use crate::name::LockName;

cases! {
    "S7" [] no_value_changes_the_shape_of_a_name;
    "S7" [] a_store_keeps_names_byte_by_byte;
    "S7" [] the_longest_name_works;
    "S7" [] namespaces_are_apart;
}

/// Values that try to be something else.
const VALUES: &[&str] = &[
    "", "a", "A", "a:b", "a/b", "a#b", "a b", "a%3Ab", "a%3ab", "%", "%%", ":", "/", "#", "a:",
    ":a", "\n", "\0", "\u{7f}", "\u{a0}", "é", "e\u{301}", "é:é", "*", "?", "[a]", "{a}", "'a'",
    "\"a\"", "a\\b", "..", "../a", "a\tb", "日本", "🔒",
];

async fn no_value_changes_the_shape_of_a_name(stage: Stage) -> Outcome {
    let manager = stage.first();
    let mut names: Vec<(LockName, String)> = Vec::new();
    for first in VALUES {
        for second in ["", "a", "b", ":", "a:b", "%3A", "/"] {
            let name = crate::lock_name!("{first}:{second}")?;
            names.push((name, format!("{first:?} and {second:?}")));
        }
    }
    names.sort();
    for pair in names.windows(2) {
        ensure!(
            pair[0].0 != pair[1].0,
            "`{}` is made from {} and from {}",
            pair[0].0,
            pair[0].1,
            pair[1].1
        );
    }
    // One of each first value, all held at the same time.
    let mut guards = Vec::new();
    for value in VALUES {
        let name = crate::lock_name!("value:{value}");
        let guard = manager.lock(name).try_acquire().await?;
        guards.push(guard.ok_or_else(|| {
            Failure::new(format_args!("the store takes {value:?} for another value"))
        })?);
    }
    Ok(())
}

async fn a_store_keeps_names_byte_by_byte(stage: Stage) -> Outcome {
    let manager = stage.first();
    let names = [
        "name", "NAME", "Name", "name:", ":name", "name::", "na", "name:1", "name:01", "name/1",
        "name#1", "name%2F1", "name%2f1", "n*", "n?me", "é", "e\u{301}", "name.", "name,",
        "{name}", "name\\", "name'", "name\"", "$name", "-name", "0", "00",
    ];
    let mut guards = Vec::new();
    for name in names {
        let guard = manager.lock(name).try_acquire().await?;
        guards.push(guard.ok_or_else(|| {
            Failure::new(format_args!("the store takes `{name}` for another name"))
        })?);
    }
    let other = stage.another().await?;
    for name in names {
        ensure!(
            !is_free(&other, name).await?,
            "the store does not know `{name}` again"
        );
    }
    Ok(())
}

async fn the_longest_name_works(stage: Stage) -> Outcome {
    let (manager, other) = (stage.first(), stage.another().await?);
    let longest = "x".repeat(LockName::MAX_LEN);
    let mut alike = longest.clone();
    alike.replace_range(LockName::MAX_LEN - 1.., "y");
    let guard = manager.lock(&longest).acquire().await?;
    ensure!(
        !is_free(&other, &longest).await?,
        "the longest name is given to two owners"
    );
    ensure!(
        is_free(&other, &alike).await?,
        "two of the longest names are taken for one"
    );
    guard.release().await?;
    Ok(())
}

async fn namespaces_are_apart(stage: Stage) -> Outcome {
    let manager = stage.first();
    let longer = format!("{}x", stage.namespace());
    let neighbour = stage.manager(|builder| builder.namespace(&longer)).await?;
    let guard = manager.lock("x/name").acquire().await?;
    let _other = manager.lock("name").acquire().await?;
    for name in ["x/name", "name"] {
        ensure!(
            is_free(&neighbour, name).await?,
            "a lock of one namespace is busy in another"
        );
    }
    if stage.can().list {
        ensure!(
            neighbour
                .list("")
                .await?
                .iter()
                .all(|info| !info.is_locked()),
            "a lock of one namespace is listed in another"
        );
    }
    guard.release().await?;
    Ok(())
}
