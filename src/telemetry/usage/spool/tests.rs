//! What survives: restarts, torn tails, zeros, lost cursors, a full disk and a full spool.

use super::*;

/// A directory of this test alone, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("transom-spool-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self) -> Spool {
        Spool::open(&self.0, 1 << 20).expect("a spool")
    }

    /// The segments that have a file.
    fn files(&self) -> Vec<PathBuf> {
        let numbers = segments(&self.0).expect("a readable directory").into_iter();
        numbers.map(|(number, _)| segment_path(&self.0, number)).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn put(spool: &mut Spool, events: std::ops::Range<u32>) {
    for event in events {
        assert!(spool.push(format!("{{\"id\":{event}}}\n").as_bytes()), "there is room");
    }
    spool.write().expect("a writable disk");
}

/// Reads and releases everything; the ids as they came, and the torn lines.
fn take_all(spool: &mut Spool) -> (Vec<u32>, u64) {
    let (mut ids, mut torn) = (Vec::new(), 0);
    while let Some(batch) = spool.read().expect("a readable disk") {
        torn += batch.torn;
        ids.extend(batch.lines().map(|line| {
            let event: serde_json::Value = serde_json::from_slice(line).expect("JSON");
            u32::try_from(event["id"].as_u64().expect("a number")).expect("a small one")
        }));
        spool.release(batch.end).expect("a writable disk");
    }
    (ids, torn)
}

fn ids(range: std::ops::Range<u32>) -> (Vec<u32>, u64) {
    (range.collect(), 0)
}

#[test]
fn events_come_out_as_they_went_in() {
    let directory = Directory::new("order");
    let mut spool = directory.open();
    assert!(spool.read().expect("readable").is_none());
    put(&mut spool, 0..3);
    assert_eq!(take_all(&mut spool), ids(0..3));
    put(&mut spool, 3..5);
    put(&mut spool, 5..6);
    assert_eq!(take_all(&mut spool), ids(3..6));
    assert!(spool.read().expect("readable").is_none());
}

#[test]
fn what_is_not_released_is_read_again() {
    let directory = Directory::new("again");
    let mut spool = directory.open();
    put(&mut spool, 0..3);
    for _ in 0..2 {
        assert_eq!(spool.read().expect("readable").map(|batch| batch.len()), Some(3));
    }
    drop(spool);
    assert_eq!(take_all(&mut directory.open()), ids(0..3));
}

#[test]
fn restart_goes_on_where_the_sink_was() {
    let directory = Directory::new("restart");
    let mut spool = directory.open();
    put(&mut spool, 0..2);
    assert_eq!(take_all(&mut spool), ids(0..2));
    put(&mut spool, 2..4);
    drop(spool);
    let mut spool = directory.open();
    put(&mut spool, 4..5);
    assert_eq!(take_all(&mut spool), ids(2..5));
    drop(spool);
    let mut spool = directory.open();
    assert_eq!(take_all(&mut spool), ids(0..0));
    assert_eq!(spool.bytes(), 0, "segments that were taken are gone");
    assert_eq!(directory.files(), Vec::<PathBuf>::new());
}

#[test]
fn numbers_of_segments_never_come_again() {
    let directory = Directory::new("numbers");
    let mut seen = Vec::new();
    for round in 0..3 {
        let mut spool = directory.open();
        put(&mut spool, round..round + 1);
        let file = directory.files().pop();
        assert!(!seen.contains(&file), "{file:?}");
        seen.push(file);
        assert_eq!(take_all(&mut spool), ids(round..round + 1));
    }
}

#[test]
fn torn_tails_are_passed_over() {
    let check = |name: &str, tail: &[u8], torn: u64| {
        let directory = Directory::new(name);
        let mut spool = directory.open();
        put(&mut spool, 0..2);
        drop(spool);
        let file = directory.files().pop().expect("a segment");
        let whole = fs::read(&file).expect("readable");
        fs::write(&file, [&whole, tail].concat()).expect("writable");
        let mut spool = directory.open();
        put(&mut spool, 2..3);
        assert_eq!(take_all(&mut spool), ((0..3).collect(), torn), "{name}");
        assert_eq!(directory.files().len(), 1, "{name}: the torn segment is gone");
    };
    check("whole", b"", 0);
    check("half", b"{\"id\":", 1);
    check("zeros", &[0; 4096], 1);
    check("zeros-and-newline", b"\0\0\0\0\n", 1);
    check("garbage-line", b"}{\n", 1);
}

#[test]
fn event_behind_garbage_is_found() {
    let directory = Directory::new("garbage");
    let mut spool = directory.open();
    put(&mut spool, 0..1);
    drop(spool);
    let file = directory.files().pop().expect("a segment");
    fs::write(&file, [&vec![0; 600 << 10][..], b"\n{\"id\":7}\n"].concat()).expect("writable");
    let (ids, torn) = take_all(&mut directory.open());
    assert_eq!(ids, [7]);
    assert!(torn > 0);
}

#[test]
fn truncation_anywhere_loses_only_what_was_cut() {
    let directory = Directory::new("cut");
    let mut spool = directory.open();
    put(&mut spool, 0..3);
    drop(spool);
    let file = directory.files().pop().expect("a segment");
    let whole = fs::read(&file).expect("readable");
    for length in 0..=whole.len() {
        let directory = Directory::new("cut-copy");
        fs::create_dir_all(&directory.0).expect("writable");
        fs::write(directory.0.join(file.file_name().expect("a name")), &whole[..length]).expect("writable");
        let kept = whole[..length].iter().filter(|byte| **byte == b'\n').count();
        let (ids, _) = take_all(&mut directory.open());
        assert_eq!(ids.len(), kept, "cut at {length}");
    }
}

#[test]
fn unreadable_cursor_begins_at_the_oldest() {
    for cursor in ["", "x", "1", "1 x\n", "99999999999999999999 0\n"] {
        let directory = Directory::new("cursor");
        let mut spool = directory.open();
        put(&mut spool, 0..2);
        let batch = spool.read().expect("readable").expect("two events");
        spool.release(batch.end).expect("writable");
        drop(spool);
        fs::write(directory.0.join("cursor"), cursor).expect("writable");
        assert_eq!(take_all(&mut directory.open()), ids(0..2), "{cursor:?}");
    }
}

#[test]
fn cursor_behind_the_end_is_the_end() {
    let directory = Directory::new("cursor-far");
    let mut spool = directory.open();
    put(&mut spool, 0..2);
    drop(spool);
    fs::write(directory.0.join("cursor"), "1 4096\n").expect("writable");
    let mut spool = directory.open();
    put(&mut spool, 2..3);
    assert_eq!(take_all(&mut spool), ids(2..3));
}

#[test]
fn full_spool_keeps_the_oldest() {
    let directory = Directory::new("full");
    let mut spool = Spool::open(&directory.0, 100).expect("a spool");
    let line = [b"\"".as_slice(), &[b'x'; 7], b"\"\n"].concat();
    let kept = (0..12).filter(|_| spool.push(&line)).count();
    assert_eq!((kept, spool.bytes()), (10, 100), "ten lines of ten bytes fit, the eleventh does not");
    spool.write().expect("writable");
    assert!(!spool.push(&line));
    let batch = spool.read().expect("readable").expect("events");
    assert_eq!(batch.len(), 10);
    spool.release(batch.end).expect("writable");
    assert_eq!(spool.bytes(), 0);
    assert!(spool.push(&line), "there is room again");
}

#[test]
fn long_spools_are_many_segments_and_go_as_they_are_taken() {
    let directory = Directory::new("segments");
    let mut spool = Spool::open(&directory.0, 64 << 10).expect("a spool");
    for event in 0..3000 {
        put(&mut spool, event..event + 1);
    }
    let files = directory.files().len();
    assert!((6..=16).contains(&files), "{files} segments");
    let batch = spool.read().expect("readable").expect("events");
    assert!(batch.len() < 3000);
    spool.release(batch.end).expect("writable");
    assert_eq!(directory.files().len(), files - 1);
    let rest = u32::try_from(batch.len()).expect("a few")..3000;
    assert_eq!(take_all(&mut spool), ids(rest));
}

#[test]
fn disk_that_refuses_is_asked_again() {
    let directory = Directory::new("refused");
    let mut spool = directory.open();
    // The name of the first segment is taken by something that cannot be written.
    let path = segment_path(&directory.0, 1);
    fs::create_dir(&path).expect("writable");
    assert!(spool.push(b"{\"id\":0}\n"));
    assert!(spool.write().is_err() && spool.is_behind());
    fs::remove_dir(&path).expect("writable");
    spool.write().expect("the disk is well again");
    assert!(!spool.is_behind());
    assert_eq!(take_all(&mut spool), ids(0..1));
}

#[test]
fn two_processes_cannot_share_a_spool() {
    let directory = Directory::new("lock");
    let spool = directory.open();
    assert!(matches!(Spool::open(&directory.0, 1), Err(SpoolError::InUse(_))));
    drop(spool);
    directory.open();
}

#[test]
fn unfinished_minute_is_replaced_and_removed() {
    let directory = Directory::new("unfinished");
    let spool = directory.open();
    assert_eq!(spool.unfinished(), b"");
    for lines in [&b"one\n"[..], b"two\n", b"", b""] {
        spool.keep_unfinished(lines).expect("writable");
        assert_eq!(spool.unfinished(), lines);
    }
}

#[test]
fn rejected_events_are_kept_within_a_bound() {
    let directory = Directory::new("rejected");
    let spool = directory.open();
    let line = vec![b'x'; 1 << 20];
    for _ in 0..6 {
        spool.reject(&line).expect("writable");
    }
    let length = fs::metadata(directory.0.join("rejected.events")).expect("a file").len();
    assert_eq!(length, REJECTED_BYTES_MAX);
}
