//! From a DNS message to what is sent back. Pure.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::names::{Found, Names};

/// How long an answer may be kept, in seconds: as long as Istio says.
const TIME_TO_LIVE: u32 = 30;
/// The largest datagram that is sent, whatever the client allows.
const LARGEST_DATAGRAM: u16 = 1232;
/// What a client without EDNS takes.
const PLAIN_DATAGRAM: u16 = 512;

/// What to do with a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// Send this back.
    Answer(Vec<u8>),
    /// Ask the resolvers.
    Forward,
    /// Say nothing.
    Nothing,
}

/// Answers a message where its name is the mesh's. `turn` says which address comes first.
#[must_use]
pub fn reply(names: Option<&Names>, question: &[u8], stream: bool, turn: usize) -> Reply {
    let Ok(request) = Message::from_vec(question) else { return Reply::Nothing };
    // Answering answers would let two servers talk to each other for ever.
    if request.metadata.message_type != MessageType::Query {
        return Reply::Nothing;
    }
    let [query] = request.queries.as_slice() else { return Reply::Forward };
    let ours = matches!(query.query_type(), RecordType::A | RecordType::AAAA);
    if request.metadata.op_code != OpCode::Query || query.query_class() != DNSClass::IN || !ours {
        return Reply::Forward;
    }
    let Some(names) = names else { return Reply::Forward };
    let name = query.name().to_ascii();
    let mut response = response_to(&request);
    match names.find(&name) {
        Found::Unknown => return Reply::Forward,
        // A name without addresses of the type that is asked for exists all the same.
        Found::Addresses(addresses) => response.add_answers(records(query, query.name(), addresses, turn)),
        Found::Alias(target, addresses) => {
            let Ok(target) = Name::from_ascii(format!("{target}.")) else { return Reply::Forward };
            let alias = RData::CNAME(CNAME(target.clone()));
            response.add_answer(Record::from_rdata(query.name().clone(), TIME_TO_LIVE, alias));
            response.add_answers(records(query, &target, addresses, turn))
        }
    };
    let largest = if stream { u16::MAX } else { datagram_limit(&request) };
    let encoded = response
        .to_vec()
        .and_then(|bytes| if bytes.len() <= usize::from(largest) { Ok(bytes) } else { response.truncate().to_vec() });
    encoded.map_or(Reply::Nothing, Reply::Answer)
}

/// Says of a message that nobody could answer it.
#[must_use]
pub fn failed(question: &[u8]) -> Option<Vec<u8>> {
    let request = Message::from_vec(question).ok()?;
    let mut response = response_to(&request);
    response.metadata.response_code = ResponseCode::ServFail;
    response.to_vec().ok()
}

/// What the resolvers said while the mesh's names are not known yet: that a name does not exist cannot be said then, and
/// a client would keep it.
#[must_use]
pub fn provisional(mut answer: Vec<u8>) -> Vec<u8> {
    const NO_SUCH_NAME: u8 = 3;
    const SERVER_FAILURE: u8 = 2;
    if let Some(code) = answer.get_mut(3).filter(|code| **code & 0x0f == NO_SUCH_NAME) {
        *code = (*code & 0xf0) | SERVER_FAILURE;
    }
    answer
}

fn response_to(request: &Message) -> Message {
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.metadata.authoritative = true;
    response.add_queries(request.queries.iter().cloned());
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST_DATAGRAM);
        response.set_edns(edns);
    }
    response
}

fn datagram_limit(request: &Message) -> u16 {
    let offered = request.edns.as_ref().map_or(PLAIN_DATAGRAM, Edns::max_payload);
    offered.clamp(PLAIN_DATAGRAM, LARGEST_DATAGRAM)
}

fn records(query: &Query, owner: &Name, addresses: &[IpAddr], turn: usize) -> Vec<Record> {
    let data = addresses.iter().filter_map(|address| match (address, query.query_type()) {
        (IpAddr::V4(address), RecordType::A) => Some(RData::A(A(*address))),
        (IpAddr::V6(address), RecordType::AAAA) => Some(RData::AAAA(AAAA(*address))),
        _ => None,
    });
    let mut records: Vec<Record> = data.map(|data| Record::from_rdata(owner.clone(), TIME_TO_LIVE, data)).collect();
    if !records.is_empty() {
        let first = turn % records.len();
        records.rotate_left(first);
    }
    records
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::proto::{NameInfo, NameTable};

    fn names() -> Names {
        let ips = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(str::to_owned).into();
        let table = BTreeMap::from([
            ("both.global".to_owned(), NameInfo { ips, ..NameInfo::default() }),
            ("four.global".to_owned(), NameInfo { ips: vec!["192.0.2.4".to_owned()], ..NameInfo::default() }),
        ]);
        Names::of(&NameTable { table }, "a", &["a.svc.cluster.local".to_owned()])
    }

    fn question(name: &str, kind: RecordType) -> Vec<u8> {
        let mut request = Message::new(7, MessageType::Query, OpCode::Query);
        request.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        request.to_vec().unwrap()
    }

    fn answers(name: &str, kind: RecordType, turn: usize) -> Option<(ResponseCode, Vec<String>)> {
        match reply(Some(&names()), &question(name, kind), false, turn) {
            Reply::Answer(bytes) => {
                let message = Message::from_vec(&bytes).unwrap();
                assert_eq!((message.metadata.id, message.queries.len()), (7, 1));
                let records = message.answers.iter().map(ToString::to_string).collect();
                Some((message.metadata.response_code, records))
            }
            Reply::Forward => None,
            Reply::Nothing => panic!("no reply"),
        }
    }

    fn known(records: &[&str]) -> Option<(ResponseCode, Vec<String>)> {
        Some((ResponseCode::NoError, records.iter().map(|record| (*record).to_owned()).collect()))
    }

    #[test]
    fn addresses_take_turns() {
        let (one, two) = ("both.global. 30 IN A 192.0.2.1", "both.global. 30 IN A 192.0.2.2");
        assert_eq!(answers("both.global.", RecordType::A, 0), known(&[one, two]));
        assert_eq!(answers("both.global.", RecordType::A, 1), known(&[two, one]));
        assert_eq!(answers("both.global.", RecordType::AAAA, 5), known(&["both.global. 30 IN AAAA 2001:db8::1"]));
    }

    /// Some clients take "no such name" for AAAA as "no such name" at all.
    #[test]
    fn a_known_name_without_the_type_is_no_error() {
        assert_eq!(answers("four.global.", RecordType::AAAA, 0), known(&[]));
    }

    #[test]
    fn a_search_domain_is_answered_with_an_alias() {
        let expected = ["four.global.a.svc.cluster.local. 30 IN CNAME four.global.", "four.global. 30 IN A 192.0.2.4"];
        assert_eq!(answers("four.global.a.svc.cluster.local.", RecordType::A, 0), known(&expected));
    }

    #[test]
    fn everything_else_is_for_the_resolvers() {
        assert_eq!(answers("example.org.", RecordType::A, 0), None);
        assert_eq!(answers("four.global.", RecordType::SRV, 0), None);
        assert_eq!(reply(None, &question("four.global.", RecordType::A), false, 0), Reply::Forward);
        assert_eq!(reply(Some(&names()), b"garbage", false, 0), Reply::Nothing);
        let response = Message::response(7, OpCode::Query).to_vec().unwrap();
        assert_eq!(reply(Some(&names()), &response, false, 0), Reply::Nothing);
    }

    #[test]
    fn before_the_first_names_nothing_is_said_not_to_exist() {
        let mut response = Message::response(7, OpCode::Query);
        for (code, expected) in [
            (ResponseCode::NXDomain, ResponseCode::ServFail),
            (ResponseCode::NoError, ResponseCode::NoError),
            (ResponseCode::Refused, ResponseCode::Refused),
        ] {
            response.metadata.response_code = code;
            let changed = Message::from_vec(&provisional(response.to_vec().unwrap())).unwrap();
            assert_eq!(changed.metadata.response_code, expected);
        }
        let failed = Message::from_vec(&failed(&question("a.", RecordType::A)).unwrap()).unwrap();
        assert_eq!((failed.metadata.id, failed.metadata.response_code), (7, ResponseCode::ServFail));
    }
}
