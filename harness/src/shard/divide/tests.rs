//! Divisions of made-up pieces.

use proptest::prelude::*;

use super::*;

fn piece(topology: &str, number: usize, takes: u64) -> Piece {
    Piece { name: format!("{topology}-{number}"), topology: topology.to_owned(), takes }
}

/// Names by shard.
fn names(pieces: &[Piece], division: &Division) -> Vec<Vec<String>> {
    let of = |shard| {
        let members = pieces.iter().zip(&division.shard_of).filter(move |(_, at)| **at == shard);
        members.map(|(piece, _)| piece.name.clone()).collect()
    };
    (0..division.loads.len()).map(of).collect()
}

#[test]
fn topologies_stay_together_where_that_is_fair() {
    let pieces: Vec<Piece> =
        ["a", "b", "c"].iter().flat_map(|topology| (0..3).map(move |number| piece(topology, number, 10))).collect();
    let division = divide(&pieces, |_| 20, 3).expect("divided");
    assert_eq!(division.loads, [50, 50, 50]);
    for names in names(&pieces, &division) {
        assert!(names.iter().all(|name| name[..1] == names[0][..1]), "{names:?}");
    }
}

#[test]
fn a_large_topology_is_divided_and_each_part_pays_its_bring_up() {
    let pieces: Vec<Piece> = (0..12).map(|number| piece("large", number, 10)).chain([piece("small", 0, 10)]).collect();
    let division = divide(&pieces, |_| 20, 3).expect("divided");
    assert_eq!(
        division.loads.iter().sum::<u64>(),
        12 * 10 + 3 * 20 + 30,
        "three bring-ups of one, and one of the other"
    );
    assert_eq!(division.loads.iter().max(), Some(&70));
}

#[test]
fn a_bring_up_that_costs_more_than_it_saves_is_not_paid() {
    let pieces: Vec<Piece> = (0..4).map(|number| piece("a", number, 1)).chain([piece("b", 0, 100)]).collect();
    let division = divide(&pieces, |_| 1_000, 2).expect("divided");
    assert_eq!(names(&pieces, &division).iter().map(Vec::len).collect::<BTreeSet<_>>(), [1, 4].into());
}

#[test]
fn no_shard_is_empty_whatever_takes_long() {
    let pieces: Vec<Piece> = [1_000, 1, 1, 1].iter().enumerate().map(|(at, takes)| piece("a", at, *takes)).collect();
    let division = divide(&pieces, |_| 50, 4).expect("divided");
    assert!(names(&pieces, &division).iter().all(|names| names.len() == 1), "{division:?}");
    assert_eq!(divide(&pieces, |_| 50, 5), Err(TooFew { pieces: 4, shards: 5 }));
    assert_eq!(divide(&[], |_| 50, 1), Err(TooFew { pieces: 0, shards: 1 }));
}

prop_compose! {
    /// Pieces of up to four topologies with their bring-ups, and a number of shards that they can fill.
    fn selections()(takes in prop::collection::vec((0_usize..4, 0_u64..10_000), 1..60), bring_ups in prop::array::uniform4(0_u64..20_000))
        (shards in 1..=takes.len().min(9), takes in Just(takes), bring_ups in Just(bring_ups))
        -> (Vec<Piece>, [u64; 4], usize) {
        let pieces = takes.iter().enumerate().map(|(number, (topology, takes))| piece(&topology.to_string(), number, *takes));
        (pieces.collect(), bring_ups, shards)
    }
}

proptest! {
    #[test]
    fn every_scenario_is_in_exactly_one_shard_and_every_shard_has_one((pieces, bring_ups, shards) in selections()) {
        let bring_up = |topology: &str| bring_ups[topology.parse::<usize>().expect("a number")];
        let division = divide(&pieces, bring_up, shards).expect("there are enough");
        prop_assert_eq!(division.shard_of.len(), pieces.len());
        prop_assert_eq!(division.loads.len(), shards);
        let used: BTreeSet<usize> = division.shard_of.iter().copied().collect();
        prop_assert_eq!(used, (0..shards).collect::<BTreeSet<_>>());
    }

    #[test]
    fn loads_are_what_the_shards_have_and_none_is_far_above_its_part((pieces, bring_ups, shards) in selections()) {
        let bring_up = |topology: &str| bring_ups[topology.parse::<usize>().expect("a number")];
        let division = divide(&pieces, bring_up, shards).expect("there are enough");
        for (shard, load) in division.loads.iter().enumerate() {
            let members: Vec<&Piece> =
                pieces.iter().zip(&division.shard_of).filter(|(_, at)| **at == shard).map(|(piece, _)| piece).collect();
            let topologies: BTreeSet<&str> = members.iter().map(|piece| piece.topology.as_str()).collect();
            let expected = members.iter().map(|piece| piece.takes).sum::<u64>() + topologies.into_iter().map(bring_up).sum::<u64>();
            prop_assert_eq!(*load, expected);
        }
        let topologies: BTreeSet<&str> = pieces.iter().map(|piece| piece.topology.as_str()).collect();
        let brought_up: u64 = topologies.into_iter().map(bring_up).sum();
        let fair = pieces.iter().map(|piece| piece.takes).sum::<u64>().div_ceil(shards as u64);
        let longest = pieces.iter().map(|piece| piece.takes + bring_up(&piece.topology)).max().unwrap_or(0);
        prop_assert!(division.loads.iter().all(|load| *load <= fair + brought_up + longest), "{division:?}");
    }

    #[test]
    fn the_order_of_the_selection_changes_nothing((pieces, bring_ups, shards) in selections(), turn in 0_usize..60) {
        let bring_up = |topology: &str| bring_ups[topology.parse::<usize>().expect("a number")];
        let mut turned = pieces.clone();
        turned.rotate_left(turn % pieces.len());
        turned.reverse();
        let sorted = |pieces: &[Piece]| {
            let division = divide(pieces, bring_up, shards).expect("there are enough");
            let mut names = names(pieces, &division);
            names.iter_mut().for_each(|names| names.sort());
            names
        };
        prop_assert_eq!(sorted(&pieces), sorted(&turned));
    }
}
