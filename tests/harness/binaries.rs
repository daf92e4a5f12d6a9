//! Where the built binaries are, and that they are up to date.
//!
//! They lie beside this executable's own profile folder. Cargo builds them once
//! a process, so that no test ever runs yesterday's; `WADITEST_BIN_DIR` names a folder
//! of finished ones instead (as on a machine without the sources). Those of the village may
//! lie elsewhere, in `WADITEST_VILLAGE_BIN_DIR`: built for another processor, each behind
//! a script of its name that emulates it.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// The environment variable that names a folder of finished binaries.
pub const FOLDER_VARIABLE: &str = "WADITEST_BIN_DIR";

/// The environment variable that names a folder of the village's binaries, for them alone.
pub const VILLAGE_FOLDER_VARIABLE: &str = "WADITEST_VILLAGE_BIN_DIR";

/// What runs in a village.
const VILLAGE: [&str; 2] = ["wadi-gateway", "wadi-handheld"];

static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// The path of a product binary, built if need be.
pub fn path(name: &str) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(VILLAGE_FOLDER_VARIABLE)
        && VILLAGE.contains(&name)
    {
        return Ok(Path::new(&folder).join(name));
    }
    let folder = FOLDER.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    match folder {
        Ok(folder) => Ok(folder.join(name)),
        Err(reason) => bail!("the binaries cannot be built: {reason}"),
    }
}

/// Build the product binaries in this executable's profile; their folder.
pub fn build() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(FOLDER_VARIABLE) {
        return Ok(folder.into());
    }
    let profile_folder = profile_folder()?;
    let target = profile_folder.parent().context("a target folder above the profile's")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--package", "wadi-gateway", "--package", "wadi-hub", "--bins"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", target);
    // Cargo tells its children about the package that it runs. Build scripts that look at
    // those would run again, and everything that depends on them would be built again.
    for (name, _) in std::env::vars_os() {
        let about =
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if about.iter().any(|about| name.to_string_lossy().starts_with(about)) {
            command.env_remove(name);
        }
    }
    if profile_folder.ends_with("release") {
        command.arg("--release");
    }
    let status = command.status().context("cargo does not start")?;
    if !status.success() {
        bail!("cargo build failed, {status}");
    }
    Ok(profile_folder)
}

/// `target/debug` or `target/release`, from `target/debug/deps/end_to_end-…` or `target/debug/wadi-demo`.
fn profile_folder() -> Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let folder = executable.parent().context("a folder")?;
    let above = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    Ok(Path::new(above).to_path_buf())
}

/// A command of a product binary, without the configuration that our own environment may hold.
pub fn command(name: &str) -> Result<Command> {
    let mut command = Command::new(path(name)?);
    // Logs go to files.
    command.env("NO_COLOR", "1");
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("WADI_") {
            command.env_remove(variable);
        }
    }
    Ok(command)
}
