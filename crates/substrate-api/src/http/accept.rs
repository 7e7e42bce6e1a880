//! Which representation a client asks for. Pure.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::status::ApiError;

/// How objects are shown in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Object,
    /// A `meta.k8s.io/v1` Table, as kubectl prints.
    Table,
    /// Only the metadata of each object.
    Metadata,
}

/// One entry of an Accept header: media type and parameters.
struct Range<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl Range<'_> {
    fn parameter(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    fn is_json(&self) -> bool {
        matches!(self.media_type, "application/json" | "application/*" | "*/*" | "")
    }
}

fn ranges(header: &str) -> Vec<Range<'_>> {
    let parse = |entry| {
        let mut parts = str::split(entry, ';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        Range { media_type, parameters: parts.filter_map(|part| part.split_once('=')).collect() }
    };
    header.split(',').map(parse).collect()
}

fn header(headers: &HeaderMap) -> String {
    let values: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

/// The first view in the client's order that this server has.
///
/// # Errors
/// 406 where there is none, as for protobuf alone.
pub(crate) fn view(headers: &HeaderMap) -> Result<View, ApiError> {
    let header = header(headers);
    let found = ranges(&header).into_iter().filter(Range::is_json).find_map(|range| {
        let served = range.parameter("g").is_none_or(|group| group == "meta.k8s.io")
            && range.parameter("v").is_none_or(|version| version == "v1");
        match range.parameter("as") {
            None => Some(View::Object),
            Some("Table") if served => Some(View::Table),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") if served => Some(View::Metadata),
            Some(_) => None,
        }
    });
    found.ok_or_else(ApiError::not_acceptable)
}

/// Whether the client takes some protobuf and no JSON.
pub(crate) fn wants_protobuf(headers: &HeaderMap) -> bool {
    let header = header(headers);
    let ranges = ranges(&header);
    !ranges.iter().any(Range::is_json) && ranges.iter().any(|range| range.media_type.ends_with("protobuf"))
}

/// Whether the client prefers aggregated discovery, and in which version (`v2` or `v2beta1`).
pub(crate) fn aggregated_discovery(headers: &HeaderMap) -> Option<&'static str> {
    let header = header(headers);
    let wanted = |range: &Range<'_>, version| {
        range.is_json()
            && range.parameter("g") == Some("apidiscovery.k8s.io")
            && range.parameter("as") == Some("APIGroupDiscoveryList")
            && range.parameter("v") == Some(version)
    };
    ranges(&header).iter().find_map(|range| ["v2", "v2beta1"].into_iter().find(|version| wanted(range, version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        headers
    }

    #[test]
    fn the_first_servable_entry_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(view(&with(kubectl)).unwrap(), View::Table);
        assert_eq!(view(&HeaderMap::new()).unwrap(), View::Object);
        assert_eq!(view(&with("application/vnd.kubernetes.protobuf,application/json")).unwrap(), View::Object);
        let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        assert_eq!(view(&with(metadata)).unwrap(), View::Metadata);
        assert!(view(&with("application/vnd.kubernetes.protobuf")).is_err());
    }

    #[test]
    fn aggregated_discovery_is_recognised() {
        let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        assert_eq!(aggregated_discovery(&with(accept)), Some("v2"));
        assert_eq!(aggregated_discovery(&with("application/json")), None);
    }
}
