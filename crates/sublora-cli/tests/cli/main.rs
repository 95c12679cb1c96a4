//! The program from outside: what it prints, what it leaves on disk, how it exits.

mod end_to_end;
mod messages;
mod ortho;
mod ortho_split;
mod ortho_sweep;
mod qat;
mod qat_compare;
mod spectral;
mod sweep;
mod text;

use std::path::Path;
use std::process::{Command, Stdio};

/// What a call of the program showed.
#[derive(Debug)]
struct Shown {
    /// Exit code.
    code: i32,
    stdout: String,
    stderr: String,
}

/// The program in `folder`, with `line` split at spaces.
fn command(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sublora"));
    if line.is_empty() {
        command.env_remove("SUBLORA_DEVICE"); // with it, clap does not show the help
    }
    command
        .args(line.split_whitespace())
        .current_dir(folder)
        .env_remove("COLUMNS")
        .env("XDG_RUNTIME_DIR", folder) // or a software Vulkan driver complains on stderr
        .stdin(Stdio::null());
    command
}

/// Calls the program.
fn sublora(folder: &Path, line: &str) -> Shown {
    let output = command(folder, line).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace("sublora.exe", "sublora");
    Shown {
        code: output.status.code().unwrap(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The same, where nothing may go wrong; what it printed.
fn done(folder: &Path, line: &str) -> String {
    let shown = sublora(folder, line);
    assert_eq!(shown.code, 0, "sublora {line}: {shown:?}");
    shown.stdout
}
