//! Opening files whose paths come from a user.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file, or a link to one, for reading.
///
/// `File::open` on a FIFO waits for a writer that may never come, and a device such as /dev/zero never ends.
///
/// # Errors
/// What the operating system answers; `InvalidInput` for a folder, FIFO, socket or device.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // NONBLOCK makes the opening of a FIFO return at once; on a regular file it has no effect.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a folder, FIFO, socket or device, not a regular file",
        ));
    }
    Ok(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};
    use std::io::Read;

    #[test]
    fn reads_a_file_and_a_link_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"abc").unwrap();
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        for name in ["file", "link"] {
            let mut text = String::new();
            let mut file = open_regular(&folder.path().join(name)).unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "abc");
        }
    }

    #[test]
    fn refuses_what_is_no_regular_file_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
        for path in [folder.path(), &fifo, Path::new("/dev/zero")] {
            let error = open_regular(path).unwrap_err();
            assert_eq!(
                error.kind(),
                io::ErrorKind::InvalidInput,
                "{}",
                path.display()
            );
        }
        let missing = open_regular(&folder.path().join("none")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
