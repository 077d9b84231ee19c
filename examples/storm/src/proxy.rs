//! A proxy to PostgreSQL for one process. It cuts connections at commits: before the commit reaches
//! the database, so that it never does or does later, or after, so that the answer is lost. And it
//! kills the process in the middle of one.

use std::cell::Cell;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use rand::random_bool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::storm::{KILLED, LATE, LOST, Storm, nap};

/// The share of commits that meets each of the faults.
const OFTEN: f64 = 0.015;

pub struct Proxy {
    storm: Rc<Storm>,
    to: u16,
    /// The process that is to die at its next commit.
    pub doomed: Cell<Option<u32>>,
}

impl Proxy {
    /// Returns it and its port.
    pub async fn start(storm: Rc<Storm>, to: u16) -> std::io::Result<(Rc<Self>, u16)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let proxy = Rc::new(Self { storm, to, doomed: Cell::default() });
        let serving = proxy.clone();
        spawn_local(async move {
            while let Ok((client, _)) = listener.accept().await {
                spawn_local(serving.clone().carry(client));
            }
        });
        Ok((proxy, port))
    }

    fn is_to(&self, fault: &'static str) -> bool {
        let is_so = !self.storm.is_over() && random_bool(OFTEN);
        self.storm.count(fault, is_so.into());
        is_so
    }

    /// Carries both ways until one side ends, or is to be cut off, and then closes both.
    async fn carry(self: Rc<Self>, mut client: TcpStream) -> std::io::Result<()> {
        let mut server = TcpStream::connect(("127.0.0.1", self.to)).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut asked, mut told) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let mut is_commit = false;
        loop {
            tokio::select! {
                read = client.read(&mut asked) => {
                    let asked = &asked[..read?];
                    // Every commit says who made it, and nothing else does.
                    let says = |by: &[u8]| asked.windows(by.len()).any(|part| part == by);
                    is_commit = says(b"request r") || says(b"worker ");
                    if is_commit && let Some(process) = self.doomed.take() {
                        _ = Command::new("kill").args(["-KILL", &process.to_string()]).status();
                        self.storm.count(KILLED, 1);
                    } else if is_commit && self.is_to(LOST) || asked.is_empty() {
                        return Ok(());
                    } else if is_commit && self.is_to(LATE) {
                        drop(client);
                        nap(20..600).await;
                        server.write_all(asked).await?;
                        _ = timeout(Duration::from_secs(5), server.read(&mut told)).await;
                        return Ok(());
                    }
                    server.write_all(asked).await?;
                }
                read = server.read(&mut told) => {
                    let told = &told[..read?];
                    if told.is_empty() || is_commit && self.is_to(LOST) {
                        return Ok(());
                    }
                    client.write_all(told).await?;
                }
            }
        }
    }
}
