//! `links` in the manifest needs a build script; the key alone does the work.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
