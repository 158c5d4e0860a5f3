//! Where the programs under test come from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `eagledb` binary: `EAGLEDB_BIN`, or the workspace's own, built first so that it is never stale.
pub fn eagledb() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("EAGLEDB_BIN") {
        Some(path) => path.into(),
        None => build(),
    })
}

/// The reference server, from the distribution's `redis-server` package.
pub fn redis_server() -> &'static Path {
    Path::new("redis-server")
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest_dir
        .parent()
        .expect("the tests crate lies in the workspace")
        .to_owned()
}

/// Builds `eagledb` with the profile this test binary was built with.
///
/// The test binary lies in `target/<profile>/deps`, the result in `target/<profile>`.
fn build() -> PathBuf {
    let exe = std::env::current_exe().expect("a test binary has a path");
    let profile_dir = exe
        .parent()
        .and_then(Path::parent)
        .expect("target/<profile>/deps");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--package",
            "eagledb",
            "--profile",
            profile,
        ])
        .current_dir(workspace())
        .status()
        .expect("cargo runs");
    assert!(status.success(), "cargo could not build eagledb");
    profile_dir.join("eagledb")
}
