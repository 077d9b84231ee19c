//! A proxy to PostgreSQL that loses commits and answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rand::random_bool;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How often a connection is cut at a COMMIT before it reaches the database, and how often after.
const LOST: f64 = 0.02;

#[derive(Default)]
pub struct Proxy {
    pub is_calm: AtomicBool,
    pub lost: AtomicUsize,
}

impl Proxy {
    /// Starts a proxy to port `to`; returns its port and its counter.
    pub async fn start(to: u16) -> std::io::Result<(u16, Arc<Self>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let proxy = Arc::new(Self::default());
        let counted = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(counted.clone().carry(client, to));
            }
        });
        Ok((port, proxy))
    }

    async fn carry(self: Arc<Self>, client: TcpStream, to: u16) -> std::io::Result<()> {
        let server = TcpStream::connect(("127.0.0.1", to)).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        // When one direction ends, both connections are closed.
        tokio::select! {
            done = self.copy(from_client, to_server, b"Q\0\0\0\x0bCOMMIT\0") => done,
            done = self.copy(from_server, to_client, b"C\0\0\0\x0bCOMMIT\0") => done,
        }
    }

    async fn copy(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        commit: &[u8],
    ) -> std::io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = from.read(&mut buffer).await?;
            let read = &buffer[..length];
            let is_commit = read.windows(commit.len()).any(|message| message == commit);
            if is_commit && !self.is_calm.load(Ordering::Relaxed) && random_bool(LOST) {
                self.lost.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            if read.is_empty() {
                return Ok(());
            }
            to.write_all(read).await?;
        }
    }
}
