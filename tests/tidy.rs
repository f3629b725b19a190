//! What ARCHITECTURE.md says must not be there, looked for.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace")
        .to_path_buf()
}

/// Every Rust file below a folder of the workspace, with its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.sort();
    assert!(!found.is_empty(), "{folder} has no sources");
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a source");
            let name = path
                .strip_prefix(root())
                .expect("below the root")
                .display()
                .to_string();
            (name, text)
        })
        .collect()
}

/// The code of a file: without comments, and without its tests.
fn code(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn is_test(file: &str) -> bool {
    file.contains("/tests") || file.ends_with("model.rs")
}

/// Fails with every file of the folder in which one of the words stands.
#[track_caller]
fn assert_absent(folder: &str, words: &[&str], except: &[&str]) {
    let mut found = Vec::new();
    for (file, text) in sources(folder) {
        if is_test(&file) || except.iter().any(|except| file.ends_with(except)) {
            continue;
        }
        let code = code(&text);
        found.extend(
            words
                .iter()
                .filter(|word| code.contains(**word))
                .map(|word| format!("{file}: {word}")),
        );
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_table_is_pure() {
    assert_absent(
        "lock-runtime/src/table",
        &[
            "async ",
            "Mutex",
            "Instant::",
            "SystemTime::now",
            "std::thread",
            "tokio::",
            "tracing",
            "rand::",
            "Clock",
        ],
        &[],
    );
}

#[test]
fn the_engine_of_the_daemon_does_no_io() {
    assert_absent(
        "lockd/src/engine",
        &[
            "async ",
            "Mutex",
            "Instant::",
            "SystemTime::now",
            "std::fs",
            "std::net",
            "std::thread",
            "tokio",
            "tracing",
            "crate::server",
        ],
        &[],
    );
}

#[test]
fn nothing_lower_names_anything_higher() {
    let floors: &[(&str, &[&str])] = &[
        (
            "lock-runtime/src/table",
            &[
                "crate::backend",
                "crate::manager",
                "crate::section",
                "crate::global",
            ],
        ),
        (
            "lock-runtime/src/backend",
            &[
                "crate::manager",
                "crate::section",
                "crate::global",
                "crate::guard",
            ],
        ),
        (
            "lock-runtime/src/manager",
            &[
                "crate::section",
                "crate::global",
                "crate::guard",
                "crate::request",
            ],
        ),
        (
            "lock-runtime/src/section",
            &[
                "crate::global",
                "crate::guard",
                "crate::request",
                "crate::entry",
            ],
        ),
        (
            "lock-runtime/src/lease",
            &[
                "crate::backend",
                "crate::manager",
                "crate::section",
                "crate::table",
            ],
        ),
        (
            "lock-runtime/src/clock",
            &[
                "crate::lease",
                "crate::backend",
                "crate::manager",
                "crate::name",
            ],
        ),
        (
            "lock-runtime/src/name",
            &[
                "crate::lease",
                "crate::backend",
                "crate::manager",
                "crate::clock",
            ],
        ),
    ];
    for (folder, words) in floors {
        assert_absent(folder, words, &[]);
    }
}

#[test]
fn metrics_are_named_in_one_file() {
    assert_absent("lock-runtime/src", &["metrics::"], &["observe.rs"]);
}

#[test]
fn the_macros_depend_on_nothing_of_the_workspace() {
    let manifest =
        std::fs::read_to_string(root().join("lock-macros/Cargo.toml")).expect("a manifest");
    assert!(!manifest.contains("lock-runtime.") && !manifest.contains("lock-runtime ="));
}

#[test]
fn the_private_module_is_spelled_once() {
    let spelled: Vec<_> = sources("lock-macros/src")
        .into_iter()
        .filter(|(file, text)| !is_test(file) && code(text).contains("__private"))
        .map(|(file, _)| file)
        .collect();
    assert_eq!(spelled, ["lock-macros/src/paths.rs"]);
}

#[test]
fn nothing_is_left_for_later() {
    for folder in ["lock-macros", "lock-runtime", "lockd", "examples", "tests"] {
        assert_absent(
            folder,
            &[
                concat!("todo", "!("),
                concat!("unimplemented", "!("),
                concat!("#[", "ignore"),
                concat!("#![allow(", "dead_code"),
            ],
            &[],
        );
    }
}

#[test]
fn every_file_of_the_code_map_is_there_and_every_folder_is_in_it() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the map");
    for folder in ["lock-runtime/src", "lock-macros/src", "tests"] {
        for entry in std::fs::read_dir(root().join(folder))
            .expect("a folder")
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_source = entry.path().is_dir() || name.ends_with(".rs");
            let is_known = [
                "lib.rs",
                "future_ext.rs",
                "caret.rs",
                "hint.rs",
                "problems.rs",
                "examples.rs",
            ]
            .contains(&name.as_str());
            let shown = if entry.path().is_dir() {
                format!("{name}/")
            } else {
                name.clone()
            };
            assert!(
                !is_source || is_known || map.contains(&shown),
                "{folder}/{shown} is not in the code map"
            );
        }
    }
}

#[test]
fn rooms_are_not_too_large() {
    for folder in ["lock-runtime/src", "lock-macros/src", "lockd/src"] {
        for (file, text) in sources(folder) {
            let lines = text.lines().count();
            assert!(
                lines <= 480 || is_test(&file),
                "{file} has {lines} lines: does it have two subjects?"
            );
        }
    }
}

/// The packages that `lock-runtime` is built of with these options of cargo.
fn packages(options: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "lock-runtime"])
        .args(["--edges", "normal", "--prefix", "none"])
        .args(options)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The features of the backends, each with the packages that nobody else needs.
const BACKENDS: [(&str, &[&str]); 4] = [
    ("etcd", &["etcd-client v", "prost v"]),
    ("lockd", &["postcard v"]),
    ("postgres", &["tokio-postgres v", "postgres-types v"]),
    ("redis", &["redis v", "combine v"]),
];

#[test]
fn a_runtime_without_features_stays_small() {
    let optional = [
        "axum-core v",
        "tonic v",
        "metrics v",
        "libtest-mimic v",
        "serde_json v",
        "rustls v",
    ];
    let everything = packages(&["--all-features"]);
    let nothing = packages(&[]);
    let of_backends = BACKENDS.iter().flat_map(|(_, packages)| *packages);
    for package in optional.iter().chain(of_backends) {
        assert!(
            everything.contains(package),
            "{package} is not optional any more"
        );
        assert!(
            !nothing.contains(package),
            "{package} comes without its feature"
        );
    }
    assert!(!nothing.contains("shuttle"), "a build of the tests' own");
    let count = nothing.lines().filter(|line| !line.contains("(*)")).count();
    assert!(
        count <= 50,
        "{count} packages without any feature:\n{nothing}"
    );
}

#[test]
fn backends_are_free_of_each_other() {
    for (feature, own) in BACKENDS {
        let packages = packages(&["--features", feature]);
        for package in own {
            assert!(packages.contains(package), "{feature} without {package}");
        }
        let others = BACKENDS.iter().filter(|(other, _)| *other != feature);
        for package in others.flat_map(|(_, packages)| *packages) {
            assert!(!packages.contains(package), "{feature} brings {package}");
        }
        assert!(!packages.contains("rustls v"), "{feature} brings TLS");
        let folder = format!("lock-runtime/src/backend/{feature}");
        let others = BACKENDS.iter().filter(|(other, _)| *other != feature);
        for (other, _) in others {
            let named = [
                format!("backend::{other}"),
                format!("super::{other}"),
                format!("feature = \"{other}\""),
            ];
            assert_absent(&folder, &named.each_ref().map(String::as_str), &[]);
        }
    }
}
