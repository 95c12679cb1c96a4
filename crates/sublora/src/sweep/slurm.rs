//! Scripts for a cluster that runs Slurm: a job array with a task a base, one with a task a run, and a
//! job that collects what came of them.
//!
//! Arrays depend on each other by `afterany`: a task that failed stops no other, runs whose base is not
//! there say so, and the last job collects what there is.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Sweep, SweepTask};
use crate::Error;
use crate::atomic::{self, FileError};

/// The folder of the scripts and of what their tasks print.
const FOLDER: &str = "slurm";

impl Sweep<'_> {
    /// Makes the folder a sweep and writes `slurm/bases.sh`, if bases are pretrained, `runs.sh`,
    /// `collect.sh` and `submit.sh`, which hands them over in their order; its path is returned.
    /// `command` is the program with the arguments that all its calls share; behind them come `--task`
    /// and the number of a task, or `--collect`.
    ///
    /// # Errors
    /// A folder whose path Slurm cannot write to, or as [`run`](Self::run).
    pub fn write_slurm(&self, command: &[String]) -> Result<PathBuf, Error> {
        let tasks = self.tasks()?;
        let folder = std::path::absolute(self.folder.join(FOLDER));
        let folder = folder.map_err(FileError::at("find", &self.folder))?;
        let logs = logs(&folder)?;
        self.open(&tasks)?;
        let (largest, bytes) = self.largest_task()?;
        std::fs::create_dir_all(&folder).map_err(FileError::at("create", &folder))?;
        let command = command.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(" ");
        let bases = tasks.iter().filter(|it| matches!(it, SweepTask::Base { .. })).count();
        let job = |name: &str, array: Option<(usize, usize)>, step: &str| {
            let mut script = format!("#!/usr/bin/env bash\n#SBATCH --job-name=sublora-{name}\n");
            if let Some((first, last)) = array {
                let _ = writeln!(script, "#SBATCH --array={first}-{last}");
            }
            let number = if array.is_some() { "%A_%a" } else { "%j" };
            let _ =
                write!(script, "#SBATCH --output=\"{logs}/%x-{number}.log\"\nset -euo pipefail\n");
            let _ = writeln!(script, "exec {command} {step}");
            script
        };
        let one = "--task \"$SLURM_ARRAY_TASK_ID\"";
        let mut scripts = Vec::new();
        if bases > 0 {
            scripts.push(("bases", job("bases", Some((0, bases - 1)), one)));
        }
        scripts.push(("runs", job("runs", Some((bases, tasks.len() - 1)), one)));
        scripts.push(("collect", job("collect", None, "--collect")));
        let gib = bytes as f64 / f64::from(1 << 30);
        let mut submit = format!(
            "#!/usr/bin/env bash\n\
             # Options for every job go behind the name of this script, for example --time=04:00:00.\n\
             # The largest task, {largest}, is estimated to take {gib:.1} GiB of memory.\n\
             set -euo pipefail\n\
             cd \"$(dirname \"$0\")\"\n"
        );
        let mut after: Option<&str> = None;
        for (name, _) in &scripts {
            let dependency = after
                .map_or_else(String::new, |it| format!(" --dependency=afterany:\"${{{it}%%;*}}\""));
            let _ = writeln!(submit, "{name}=$(sbatch --parsable{dependency} \"$@\" {name}.sh)");
            let _ = writeln!(submit, "echo \"{name}.sh: job ${{{name}%%;*}}\"");
            after = Some(name);
        }
        scripts.push(("submit", submit));
        for (name, script) in &scripts {
            let path = folder.join(format!("{name}.sh"));
            atomic::write(&path, script.as_bytes())?;
            executable(&path)?;
        }
        Ok(folder.join("submit.sh"))
    }
}

#[cfg(unix)]
fn executable(path: &std::path::Path) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = std::fs::metadata(path).map_err(FileError::at("read", path))?;
    let mut permissions = metadata.permissions();
    let mode = permissions.mode();
    permissions.set_mode(mode | ((mode & 0o444) >> 2)); // for whoever may read it
    std::fs::set_permissions(path, permissions).map_err(FileError::at("change", path))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the other platforms can fail")]
fn executable(_path: &std::path::Path) -> Result<(), FileError> {
    Ok(())
}

/// A folder inside the quotation marks of `#SBATCH --output="..."`: there, spaces are kept, `\"` is a
/// quotation mark, and `%%` a percent sign. A backslash in a name would switch off the patterns for the
/// numbers of jobs, and a directive is one line.
fn logs(folder: &Path) -> Result<String, Error> {
    match folder.to_str() {
        Some(path) if !path.contains(|it: char| it == '\\' || it.is_control()) => {
            Ok(path.replace('%', "%%").replace('"', "\\\""))
        }
        _ => {
            let expected = "a folder that Slurm can write to, without backslashes and line breaks";
            Err(Error::value("out", &format!("{:?}", folder.to_string_lossy()), expected))
        }
    }
}

/// As one word of a shell.
fn quoted(word: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_./=:,".contains(it);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one() {
        let words = [("/usr/bin/sublora", "/usr/bin/sublora"), ("", "''"), ("a b", "'a b'")];
        for (word, expected) in words {
            assert_eq!(quoted(word), expected);
        }
        assert_eq!(quoted("it's $5"), r"'it'\''s $5'");
    }

    #[test]
    fn a_folder_of_logs_is_quoted_as_slurm_reads_it_or_refused() {
        let folders = [("/a/slurm", "/a/slurm"), ("/a b/5%", "/a b/5%%"), ("/\"a\"", r#"/\"a\""#)];
        for (folder, expected) in folders {
            assert_eq!(logs(Path::new(folder)).unwrap(), expected);
        }
        for folder in ["/a\\b", "/a\nb"] {
            let error = logs(Path::new(folder)).unwrap_err().to_string();
            assert!(error.contains("expected a folder that Slurm can write to"), "{error}");
        }
    }
}
