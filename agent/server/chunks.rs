//! An answer on its way: written on a thread that may wait, sent as the connection takes it.
//!
//! Little more than two chunks of an answer are in memory, however long it is: one that waits for the connection, one that
//! is being written. A writer waits for its reader, and is told when that one is gone; a reader is told when its writer
//! went before the end, so that half an answer never passes for a whole one.

use bytes::Bytes;
use std::io::{self, ErrorKind, Write};
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// Bytes of a chunk, at least; only the last one has fewer.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that are whole and not yet taken.
const CHUNKS_AHEAD: usize = 1;

/// A new answer. The writer belongs on a thread of its own: it waits.
pub fn chunks() -> (ChunkWriter, Chunks) {
    let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
    (ChunkWriter { sender, open: Vec::new() }, Chunks { chunks, first: None, ended: false })
}

enum Chunk {
    More(Bytes),
    Last(Bytes),
}

/// Writes an answer. Errors: nobody takes it any more.
pub struct ChunkWriter {
    sender: mpsc::Sender<Chunk>,
    open: Vec<u8>,
}

impl ChunkWriter {
    /// Sends what is left. Without it the answer is no whole one.
    pub fn end(mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.open);
        self.send(Chunk::Last(rest.into()))
    }

    fn send(&self, chunk: Chunk) -> io::Result<()> {
        self.sender.blocking_send(chunk).map_err(|_| ErrorKind::BrokenPipe.into())
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.open.capacity() == 0 {
            // Most writes are smaller than that.
            self.open.reserve_exact(CHUNK_BYTES + CHUNK_BYTES / 2);
        }
        self.open.extend_from_slice(bytes);
        if self.open.len() >= CHUNK_BYTES {
            let whole = std::mem::take(&mut self.open);
            self.send(Chunk::More(whole.into()))?;
        }
        Ok(bytes.len())
    }

    /// Sends nothing: chunks have their size.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The chunks of an answer, in their order.
pub struct Chunks {
    chunks: mpsc::Receiver<Chunk>,
    first: Option<Chunk>,
    ended: bool,
}

impl Chunks {
    /// Waits for the first chunk and keeps it; false: there will be none.
    pub async fn begin(&mut self) -> bool {
        self.first = self.chunks.recv().await;
        self.first.is_some()
    }

    /// The next chunk, if it is not the end. Errors: the writer went before its end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let chunk = match self.first.take() {
            None => ready!(self.chunks.poll_recv(cx)),
            first => first,
        };
        Poll::Ready(match chunk {
            Some(Chunk::More(bytes)) => Some(Ok(bytes)),
            Some(Chunk::Last(bytes)) => {
                self.ended = true;
                Some(Ok(bytes))
            }
            None => {
                self.ended = true;
                Some(Err(io::Error::new(ErrorKind::UnexpectedEof, "the answer could not be written to its end")))
            }
        })
    }
}
