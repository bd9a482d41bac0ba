//! Lines on their way to stdout and stderr. A thread of its own writes them, so a closed pipe, a
//! stalled reader or a full disk costs lines and nothing else.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that may wait to be written; above, the newest lines are dropped.
const MAX_QUEUED_BYTES: usize = 1024 * 1024;

/// Time for the last lines when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// A queue of lines to one stream. Clones share it.
#[derive(Clone)]
pub(crate) struct Output(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    is_writing: bool,
    /// Lines that were dropped or could not be written since a line about it was written last.
    lost: u64,
}

impl Output {
    /// Starts the thread that writes to `sink`.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub(crate) fn start(name: &str, sink: impl Write + Send + 'static) -> io::Result<Self> {
        let output = Self(Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() }));
        let written = output.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || written.write_all(sink))?;
        Ok(output)
    }

    /// The same for a standard stream of this process.
    ///
    /// # Errors
    /// As [`Self::start`], or if there are no file descriptors left.
    pub(crate) fn to(name: &str, stream: impl AsFd) -> io::Result<Self> {
        // Without the lock of the stream: a thread that waits for a reader would hold it, and stop
        // all other writers to that stream.
        Self::start(name, File::from(stream.as_fd().try_clone_to_owned()?))
    }

    /// Queues a line, or drops it if too much waits. Never waits.
    pub(crate) fn push(&self, line: Vec<u8>) {
        let mut queue = self.queue();
        if queue.bytes + line.len() > MAX_QUEUED_BYTES {
            queue.lost += 1;
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line);
        drop(queue);
        self.0.changed.notify_all();
    }

    /// Waits a moment for what is queued to be written.
    pub(crate) fn flush(&self) {
        let waits = |queue: &mut Queue| queue.is_writing || !queue.lines.is_empty();
        drop(self.0.changed.wait_timeout_while(self.queue(), FLUSH_TIMEOUT, waits));
    }

    /// Writes what is queued, until the process ends.
    fn write_all(&self, mut sink: impl Write) {
        loop {
            let line = self.next();
            let is_written = sink.write_all(&line).and_then(|()| sink.flush()).is_ok();
            let mut queue = self.queue();
            queue.is_writing = false;
            let lost = if is_written { std::mem::take(&mut queue.lost) } else { 0 };
            queue.lost += u64::from(!is_written);
            drop(queue);
            self.0.changed.notify_all();
            if lost > 0 {
                warn!(lost, "lines of this log were lost: its reader was gone or too slow, or its disk was full");
            }
        }
    }

    fn next(&self) -> Vec<u8> {
        let empty = |queue: &mut Queue| queue.lines.is_empty();
        let waited = self.0.changed.wait_while(self.queue(), empty);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        let line = queue.lines.pop_front().unwrap_or_default();
        queue.bytes -= line.len();
        // Set under the lock that took the line: `flush` must not find the queue empty while the
        // line is still unwritten.
        queue.is_writing = true;
        line
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No code panics while holding the lock.
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line of the log, queued when it is complete.
pub(crate) struct Line<'a> {
    output: &'a Output,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.output.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { output: self, bytes: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Takes each line when the test lets it, or fails.
    struct Reader {
        may: Receiver<bool>,
        took: Sender<Vec<u8>>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.may.recv().unwrap_or(false) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.took.send(bytes.to_owned()).ok();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn output() -> (Output, Sender<bool>, Receiver<Vec<u8>>) {
        let ((let_go, may), (took, taken)) = (channel(), channel());
        (Output::start("test", Reader { may, took }).unwrap(), let_go, taken)
    }

    #[test]
    fn a_line_is_written_in_one_piece() {
        let (output, let_go, taken) = output();
        let mut line = output.make_writer();
        line.write_all(b"one").unwrap();
        line.write_all(b" line\n").unwrap();
        drop(line);
        let_go.send(true).unwrap();
        assert_eq!(taken.recv().unwrap(), b"one line\n");
        output.flush();
    }

    #[test]
    fn lines_that_fail_are_counted_and_the_next_ones_written() {
        let (output, let_go, taken) = output();
        for is_good in [false, false, true] {
            let_go.send(is_good).unwrap();
            output.push(b"a".to_vec());
            output.flush();
            assert_eq!(output.queue().lost > 0, !is_good);
        }
        assert_eq!(taken.try_iter().count(), 1);
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_no_time() {
        let (output, let_go, taken) = output();
        let line = vec![b'x'; MAX_QUEUED_BYTES / 8];
        for _ in 0..100 {
            output.push(line.clone());
        }
        // One may be with the reader already.
        assert!((91..=92).contains(&output.queue().lost), "{}", output.queue().lost);
        for _ in 0..8 {
            let_go.send(true).unwrap();
        }
        for _ in 0..8 {
            taken.recv().unwrap();
        }
    }
}
