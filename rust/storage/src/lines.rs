//! Logs: one line per record, appended in place. The only files that are not published.
//!
//! A crash can tear the last line. Readers leave out a last line without a newline; the next append removes it first.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::error::{At, StorageError};

/// Bytes searched at a time for the end of the last whole line.
const TAIL_BYTES: u64 = 4096;

/// Appends `line` and a newline; on an error the file is as it was. `durable` fsyncs before returning.
///
/// A log is an ordinary file: a link is not followed, since what it leads to would lose its last line if that has no
/// newline.
pub fn append_line(path: &Path, line: &[u8], durable: bool) -> Result<(), StorageError> {
    if line.contains(&b'\n') {
        let reason = "a line of a log cannot contain a newline";
        return Err(StorageError::Unpublishable {
            path: path.to_path_buf(),
            reason,
        });
    }
    let mut file = open_log(path)?;
    // Two writers of one log (threads, a person's label page) take turns; where locks are missing they may not.
    let _ = flock(&file, FlockOperation::LockExclusive);
    let whole = whole_bytes(&mut file).at("read", path)?;
    file.set_len(whole).at("truncate", path)?;
    let mut record = Vec::with_capacity(line.len() + 1);
    record.extend_from_slice(line);
    record.push(b'\n');
    let written = file.write_all(&record).at("append to", path);
    if written.is_err() {
        // Best effort: a torn line is left out by readers anyway.
        let _ = file.set_len(whole);
        return written;
    }
    if durable {
        file.sync_all().at("fsync", path)
    } else {
        Ok(())
    }
}

/// Opens or creates a log; never follows a link, never waits for a FIFO's reader.
fn open_log(path: &Path) -> Result<File, StorageError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let is_ordinary =
        |found: std::io::Result<std::fs::Metadata>| found.is_ok_and(|it| it.is_file());
    match opened {
        Ok(file) if is_ordinary(file.metadata()) => Ok(file),
        // A link, folder or device instead of the log; anything else is the operating system's own answer.
        Err(error) if !path.symlink_metadata().is_ok_and(|it| !it.is_file()) => {
            Err(error).at("open", path)
        }
        _ => Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "a log is an ordinary file; this is a link, folder or device",
        ))
        .at("open", path),
    }
}

/// Length of the file up to and with its last newline.
fn whole_bytes(file: &mut File) -> std::io::Result<u64> {
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(TAIL_BYTES);
        let mut tail = vec![0; (end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut tail)?;
        if let Some(newline) = tail.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_removed_by_the_next_append() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        append_line(&path, b"one", true).unwrap();
        for torn in ["tor".to_string(), "t".repeat(3 * TAIL_BYTES as usize)] {
            OpenOptions::new()
                .append(true)
                .open(&path)
                .unwrap()
                .write_all(torn.as_bytes())
                .unwrap();
            append_line(&path, b"two", false).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
            std::fs::write(&path, "one\n").unwrap();
        }
    }

    #[test]
    fn a_file_of_one_torn_line_becomes_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        std::fs::write(&path, "to").unwrap();
        append_line(&path, b"one", false).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
    }

    #[test]
    fn a_newline_within_a_line_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = append_line(&folder.path().join("log"), b"a\nb", false).unwrap_err();
        assert!(
            matches!(error, StorageError::Unpublishable { .. }),
            "{error}"
        );
        assert!(!folder.path().join("log").exists());
    }

    #[test]
    fn a_link_a_fifo_and_a_folder_are_refused_and_what_a_link_names_stays() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "no newline").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        let dangling = folder.path().join("dangling");
        std::os::unix::fs::symlink(folder.path().join("new"), &dangling).unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        for path in [&link, &dangling, &fifo, folder.path()] {
            let error = append_line(path, b"line", false).unwrap_err();
            assert!(
                error.to_string().contains("a log is an ordinary file"),
                "{error}"
            );
        }
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "no newline");
        assert!(!folder.path().join("new").exists());
    }

    #[test]
    fn threads_that_share_a_log_lose_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    (0..50).for_each(|i| {
                        append_line(path, format!("{writer} {i}").as_bytes(), false).unwrap()
                    });
                });
            }
        });
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 200);
    }
}
