//! Counters of links, and what reads from them, from the kernel's tables of a namespace.

use substrate_config::control::LinkCounters;

use super::LinkError;
use crate::fabric::namespace::Namespace;

/// The links of a namespace but loopback; `behind` gives a name that says more than the interface's own.
pub(super) async fn links(
    namespace: &Namespace,
    behind: impl Fn(&str) -> Option<String>,
) -> Result<Vec<LinkCounters>, LinkError> {
    // The file of the thread, since the namespace is the thread's, not the process'.
    let table = namespace.run(|_| std::fs::read_to_string("/proc/thread-self/net/dev")).await;
    let table = table.map_err(LinkError::kernel("read the counters of a router's links"))?;
    let mut links = parse(&table);
    for link in &mut links {
        link.name = behind(&link.name).unwrap_or_else(|| link.name.clone());
    }
    Ok(links)
}

/// `/proc/net/dev`: after the name eight numbers of what came in, and eight of what went out.
fn parse(table: &str) -> Vec<LinkCounters> {
    table.lines().filter_map(line).filter(|link| link.name != "lo").collect()
}

fn line(line: &str) -> Option<LinkCounters> {
    let (name, numbers) = line.split_once(':')?;
    let numbers: Vec<u64> = numbers.split_ascii_whitespace().map_while(|number| number.parse().ok()).collect();
    let number = |position: usize| numbers.get(position).copied();
    Some(LinkCounters {
        name: name.trim().to_owned(),
        received_bytes: number(0)?,
        received_packets: number(1)?,
        received_dropped: number(3)?,
        sent_bytes: number(8)?,
        sent_packets: number(9)?,
        sent_dropped: number(11)?,
    })
}

/// Indices of the links that packet sockets of the calling thread's namespace are bound to.
pub(super) fn packet_sockets() -> std::io::Result<Vec<u32>> {
    let table = std::fs::read_to_string("/proc/thread-self/net/packet")?;
    Ok(bound(&table).collect())
}

/// The fifth column, below a line of titles. 0 means every link, which is a tap's.
fn bound(table: &str) -> impl Iterator<Item = u32> {
    let links = table.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().nth(4)?.parse().ok());
    links.filter(|link| *link != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read_by_columns() {
        let table = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
            lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  \
            net0: 1000 10 0 3 0 0 0 0 2000 20 0 4 0 0 0 0\n";
        let expected = LinkCounters {
            name: "net0".into(),
            received_packets: 10,
            received_bytes: 1000,
            received_dropped: 3,
            sent_packets: 20,
            sent_bytes: 2000,
            sent_dropped: 4,
        };
        assert_eq!(parse(table), [expected]);
    }

    #[test]
    fn packet_sockets_are_known_by_their_link() {
        // As Linux 6.18 prints it.
        let table = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
            ffff8881046a3000 3      3    0003   17    1 0      0      26611\n\
            ffff8881046a4000 3      3    0003   0     1 0      0      26612\n";
        assert_eq!(bound(table).collect::<Vec<_>>(), [17]);
    }
}
