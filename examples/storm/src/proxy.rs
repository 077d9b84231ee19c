//! A proxy to PostgreSQL for one process. It cuts connections at commits: before the commit reaches
//! the database, so that it never does or does later, or after, so that the answer is lost. And it
//! kills the process in the middle of one.

use std::cell::Cell;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use rand::{random_bool, random_range};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::storm::{KILLED, LATE, LOST, Storm};

/// How often a commit meets each of the faults.
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

    fn is_to(&self, often: f64) -> bool {
        !self.storm.is_over() && random_bool(often)
    }

    /// Carries both ways until one side ends, and then closes both.
    async fn carry(self: Rc<Self>, mut client: TcpStream) -> std::io::Result<()> {
        let mut server = TcpStream::connect(("127.0.0.1", self.to)).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let mut author = None;
        _ = self.exchange(&mut client, &mut server, &mut author).await;
        self.storm.cut.borrow_mut().extend(author); // there was no answer
        Ok(())
    }

    /// Returns if one side ended, or is to be cut off. `author` is who waits for a commit.
    async fn exchange(
        &self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        author: &mut Option<String>,
    ) -> std::io::Result<()> {
        let (mut asked, mut told) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            tokio::select! {
                read = client.read(&mut asked) => {
                    let asked = &asked[..read?];
                    *author = author_of(asked);
                    if asked.is_empty() {
                        return Ok(());
                    }
                    if author.is_some() && let Some(process) = self.doomed.take() {
                        _ = Command::new("kill").args(["-KILL", &process.to_string()]).status();
                        self.storm.count(KILLED, 1);
                    } else if author.is_some() && self.is_to(OFTEN) {
                        self.storm.count(LOST, 1);
                        return Ok(());
                    } else if author.is_some() && self.is_to(OFTEN) {
                        self.storm.count(LATE, 1);
                        client.shutdown().await?;
                        sleep(Duration::from_millis(random_range(20..600))).await;
                        server.write_all(asked).await?;
                        _ = timeout(Duration::from_secs(5), server.read(&mut told)).await;
                        return Ok(());
                    }
                    server.write_all(asked).await?;
                }
                read = server.read(&mut told) => {
                    let told = &told[..read?];
                    if told.is_empty() || author.is_some() && self.is_to(OFTEN) {
                        self.storm.count(LOST, usize::from(!told.is_empty()));
                        return Ok(());
                    }
                    *author = None;
                    client.write_all(told).await?;
                }
            }
        }
    }
}

/// Who makes the commit, if it is one: every commit says it, and nothing else does.
fn author_of(message: &[u8]) -> Option<String> {
    let name = |by: &[u8]| {
        let at = message.windows(by.len()).position(|part| part == by)?;
        let name = message[at + by.len()..].iter().take_while(|it| it.is_ascii_alphanumeric());
        Some(name.map(|it| char::from(*it)).collect())
    };
    name(b"request ").or_else(|| name(b"worker "))
}
