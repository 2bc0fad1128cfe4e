//! Secrets in the file: only where they are, `env:NAME` or `file:PATH`, never what they are.
//!
//! A reference is read when the file is read, so that a missing one is found at its line. One trailing
//! newline of a file is not part of the secret, because editors write it.

use std::path::Path;

use super::finding::Report;
use super::value;
use super::yaml::Node;
use crate::policy::secret::Secret;

/// Longer is a mistake, not a secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The secret that a reference leads to.
pub(super) fn read(node: &Node, report: &mut Report) -> Option<Secret> {
    let text = value::text(node, report)?;
    let is_reference = text.starts_with("env:") || text.starts_with("file:");
    if is_reference && !report.follows_secrets() {
        return Some(Secret::new(String::new()));
    }
    let found = if let Some(name) = text.strip_prefix("env:") {
        from_environment(name)
    } else if let Some(path) = text.strip_prefix("file:") {
        let path = report.path(path);
        if is_readable_by_all(&path) {
            report
                .warn(node.position, format!("`{}` may be read by every user of the system", path.display()));
        }
        let found = from_file(&path);
        report.led_to(path);
        found
    } else {
        // The value is not repeated: it may be the secret itself.
        Err("a secret is written as `env:NAME` or `file:PATH`, never in this file".to_owned())
    };
    match found {
        Ok(secret) => Some(secret),
        Err(reason) => value::refuse(node, report, reason),
    }
}

fn from_environment(name: &str) -> Result<Secret, String> {
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Err(format!("the environment variable `{name}` is empty")),
        Ok(text) => Ok(Secret::new(text)),
        Err(std::env::VarError::NotPresent) => Err(format!("the environment variable `{name}` is not set")),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(format!("the environment variable `{name}` is not UTF-8"))
        }
    }
}

fn from_file(path: &Path) -> Result<Secret, String> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| format!("`{shown}`: {error}"))?;
    if metadata.len() > SECRET_BYTES_MAX {
        return Err(format!("`{shown}`: larger than {SECRET_BYTES_MAX} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("`{shown}`: {error}"))?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() { Err(format!("`{shown}` is empty")) } else { Ok(Secret::new(text.to_owned())) }
}

pub(super) fn is_readable_by_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::finding::Severity;
    use crate::config::yaml;

    /// The secret that `reference` leads to, or the finding; and whether there was a warning.
    fn check(reference: &str, expected: Result<&str, &str>, is_warned: bool) {
        let mut report = Report::new(Path::new("Cargo.toml"));
        let node = yaml::parse(reference).expect("YAML");
        let secret = read(&node, &mut report);
        assert_eq!(secret.as_ref().map(Secret::expose), expected.ok(), "{reference}");
        let (warnings, findings): (Vec<_>, Vec<_>) =
            report.into_findings().into_iter().partition(|finding| finding.severity == Severity::Warning);
        assert_eq!(!warnings.is_empty(), is_warned, "{reference}");
        assert_eq!(findings.first().map(|finding| finding.message.as_str()), expected.err(), "{reference}");
    }

    #[test]
    fn secrets_are_references() {
        check("env:CARGO_PKG_NAME", Ok("transom"), false);
        let literal = "a secret is written as `env:NAME` or `file:PATH`, never in this file";
        check("hunter2", Err(literal), false);
        let absent = "the environment variable `TRANSOM_NO_SUCH_SECRET` is not set";
        check("env:TRANSOM_NO_SUCH_SECRET", Err(absent), false);
        check("file:no-such-secret", Err("`no-such-secret`: No such file or directory (os error 2)"), false);
    }

    #[test]
    fn one_newline_of_a_file_is_no_secret() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("transom-secret-{}", std::process::id()));
        let reference = format!("file:{}", path.display());
        for (text, mode, expected, is_warned) in [
            ("s3cret\n", 0o600, Ok("s3cret"), false),
            ("s3cret\r\n", 0o640, Ok("s3cret"), false),
            ("s3cret\n\n", 0o644, Ok("s3cret\n"), true),
            ("\n", 0o600, Err(format!("`{}` is empty", path.display())), false),
        ] {
            std::fs::write(&path, text).expect("the directory is writable");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("the file is ours");
            check(&reference, expected.as_ref().copied().map_err(String::as_str), is_warned);
        }
        std::fs::remove_file(&path).expect("the file is ours");
    }
}
