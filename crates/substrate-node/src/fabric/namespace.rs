//! Network namespaces, each with a thread that lives in it.
//!
//! A thread changes its network namespace, never an async worker: jobs are sent to the thread, and what they make
//! (sockets, links) belongs to the namespace for good. A namespace is alive while somebody holds its descriptor,
//! runs in it, or owns a socket of it; it never has a name in the file system.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;

use nix::sched::{CloneFlags, setns, unshare};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::oneshot;

use super::netlink::Netlink;

type Job = Box<dyn FnOnce(&Inside) + Send>;

/// What a job can use inside the namespace.
pub(super) struct Inside {
    /// A netlink socket of the namespace.
    pub(super) netlink: Netlink,
    /// The namespace itself.
    pub(super) namespace: Arc<OwnedFd>,
}

/// A network namespace with its thread. Dropping it ends the thread.
pub(super) struct Namespace {
    descriptor: Arc<OwnedFd>,
    jobs: std_mpsc::Sender<Job>,
}

impl Namespace {
    /// Makes a namespace with the loopback link up, and the thread that lives in it.
    pub(super) async fn create(name: &str) -> io::Result<Self> {
        let (jobs, inbox) = std_mpsc::channel::<Job>();
        let (ready, started) = oneshot::channel();
        std::thread::Builder::new().name(format!("net-{name}")).spawn(move || match enter_new() {
            Ok(inside) => {
                if ready.send(Ok(inside.namespace.clone())).is_ok() {
                    inbox.into_iter().for_each(|job| job(&inside));
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        })?;
        let descriptor = started.await.map_err(|_| thread_is_gone())??;
        Ok(Self { descriptor, jobs })
    }

    /// The namespace's descriptor.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// A shared handle on the namespace's descriptor.
    pub(super) fn shared_descriptor(&self) -> Arc<OwnedFd> {
        self.descriptor.clone()
    }

    /// Runs `job` inside the namespace and waits for its result.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Inside) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (reply, result) = oneshot::channel();
        self.post(move |inside| drop(reply.send(job(inside))))?;
        result.await.map_err(|_| thread_is_gone())?
    }

    /// Runs `job` inside the namespace without waiting for it.
    pub(super) fn post(&self, job: impl FnOnce(&Inside) + Send + 'static) -> io::Result<()> {
        self.jobs.send(Box::new(job)).map_err(|_| thread_is_gone())
    }

    pub(super) async fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::from_std(self.run(move |_| listening_socket(address)).await?)
    }

    pub(super) async fn bind_udp(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        UdpSocket::from_std(self.run(move |_| udp_socket(address)).await?)
    }

    pub(super) async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.run(move |_| unconnected_socket(address)).await?;
        TcpSocket::from_std_stream(socket).connect(address).await
    }
}

/// Connects from inside a namespace that has no thread of its own.
pub(super) async fn dial_in(namespace: Arc<OwnedFd>, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = in_namespace(namespace, move || unconnected_socket(address)).await?;
    TcpSocket::from_std_stream(socket).connect(address).await
}

/// Listens inside a namespace that has no thread of its own.
pub(super) async fn listen_in(namespace: Arc<OwnedFd>, address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(in_namespace(namespace, move || listening_socket(address)).await?)
}

/// Runs `job` on a thread that enters `namespace` and ends with the job.
async fn in_namespace<T: Send + 'static>(
    namespace: Arc<OwnedFd>,
    job: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (reply, result) = oneshot::channel();
    std::thread::Builder::new().name("net-visit".to_owned()).spawn(move || {
        let outcome = setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).map_err(io::Error::from).and_then(|()| job());
        drop(reply.send(outcome));
    })?;
    result.await.map_err(|_| thread_is_gone())?
}

/// Moves the calling thread into a new network namespace.
fn enter_new() -> io::Result<Inside> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let namespace = Arc::new(own_namespace()?);
    let netlink = Netlink::open()?;
    netlink.apply(vec![
        super::netlink::set_up(super::netlink::LOOPBACK, true),
        super::netlink::set_forwarding(super::netlink::LOOPBACK, false),
    ])?;
    Ok(Inside { netlink, namespace })
}

/// Makes another namespace from a thread that lives in `inside`, and returns to it.
pub(super) fn make_another(inside: &Inside) -> io::Result<Inside> {
    let another = enter_new();
    setns(inside.namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
    another
}

fn own_namespace() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

fn listening_socket(address: SocketAddr) -> io::Result<StdTcpListener> {
    let listener = StdTcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn udp_socket(address: SocketAddr) -> io::Result<StdUdpSocket> {
    let socket = StdUdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn unconnected_socket(address: SocketAddr) -> io::Result<std::net::TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

fn thread_is_gone() -> io::Error {
    io::Error::other("the thread of a network namespace has ended")
}
