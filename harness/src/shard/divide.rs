//! Which scenario is in which shard. Every shard computes the same division, by itself: the same pieces, in whatever order
//! they come, are always divided in the same way.
//!
//! Each topology that a shard has scenarios of costs it a bring-up. So the smallest limit is looked for within which all
//! shards stay, and for a limit, shards are filled topology by topology: one goes into a shard as a whole where it fits, and
//! is only divided where it fits nowhere.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A scenario with all of its cases and controls: what is never divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its name, which no other has.
    pub name: String,
    /// Name of its topology.
    pub topology: String,
    /// Milliseconds that it takes.
    pub takes: u64,
}

/// A division of pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    /// For each piece, in the order given, its shard, from 0.
    pub shard_of: Vec<usize>,
    /// Milliseconds that each shard takes, bring-ups included.
    pub loads: Vec<u64>,
}

/// There are fewer pieces than shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are fewer selected scenarios ({pieces}) than shards ({shards})")]
pub struct TooFew {
    /// How many pieces there are.
    pub pieces: usize,
    /// How many shards were asked for.
    pub shards: usize,
}

/// Divides pieces among shards, of which each gets at least one.
///
/// # Errors
/// [`TooFew`].
pub fn divide(pieces: &[Piece], bring_up: impl Fn(&str) -> u64, shards: usize) -> Result<Division, TooFew> {
    if pieces.len() < shards || shards == 0 {
        return Err(TooFew { pieces: pieces.len(), shards });
    }
    let groups = groups(pieces, bring_up);
    let mut bins = smallest(pieces, &groups, shards);
    fill_empty(pieces, &groups, &mut bins);
    let mut shard_of = vec![0; pieces.len()];
    for (number, bin) in bins.iter().enumerate() {
        bin.pieces.iter().for_each(|piece| shard_of[*piece] = number);
    }
    Ok(Division { shard_of, loads: bins.iter().map(|bin| load(pieces, &groups, &bin.pieces)).collect() })
}

/// The pieces of a topology, those that take long first.
struct Group {
    topology: String,
    bring_up: u64,
    pieces: Vec<usize>,
}

/// What a shard has so far.
#[derive(Clone, Default)]
struct Bin {
    load: u64,
    pieces: Vec<usize>,
}

fn groups(pieces: &[Piece], bring_up: impl Fn(&str) -> u64) -> Vec<Group> {
    let mut by_topology: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, piece) in pieces.iter().enumerate() {
        by_topology.entry(&piece.topology).or_default().push(index);
    }
    let group = |(topology, mut members): (&str, Vec<usize>)| {
        members.sort_by_key(|index| (Reverse(pieces[*index].takes), &pieces[*index].name));
        Group { topology: topology.to_owned(), bring_up: bring_up(topology), pieces: members }
    };
    let mut groups: Vec<Group> = by_topology.into_iter().map(group).collect();
    groups.sort_by_key(|group| Reverse(group.bring_up + takes(pieces, &group.pieces)));
    groups
}

fn takes(pieces: &[Piece], members: &[usize]) -> u64 {
    members.iter().map(|index| pieces[*index].takes).sum()
}

/// What a shard with these pieces takes.
fn load(pieces: &[Piece], groups: &[Group], members: &[usize]) -> u64 {
    let topologies: BTreeSet<&str> = members.iter().map(|index| pieces[*index].topology.as_str()).collect();
    let brought_up = groups.iter().filter(|group| topologies.contains(group.topology.as_str()));
    brought_up.map(|group| group.bring_up).sum::<u64>() + takes(pieces, members)
}

/// The shards within the smallest limit that is found by halving.
fn smallest(pieces: &[Piece], groups: &[Group], shards: usize) -> Vec<Bin> {
    let all = |group: &Group| group.bring_up + takes(pieces, &group.pieces);
    let longest = |group: &Group| group.bring_up + group.pieces.first().map_or(0, |index| pieces[*index].takes);
    // Below the first nothing can be packed; the second lets one shard take everything.
    let mut low = groups.iter().map(longest).max().unwrap_or(0);
    let mut high: u64 = groups.iter().map(all).sum();
    let mut best = pack(pieces, groups, shards, high).expect("invariant: one shard may take everything");
    while low < high {
        let middle = low + (high - low) / 2;
        match pack(pieces, groups, shards, middle) {
            Some(bins) => (best, high) = (bins, middle),
            None => low = middle + 1,
        }
    }
    best
}

/// The shards where none may take longer than the limit; `None` where that was not managed.
fn pack(pieces: &[Piece], groups: &[Group], shards: usize, limit: u64) -> Option<Vec<Bin>> {
    let mut bins = vec![Bin::default(); shards];
    groups.iter().all(|group| place(pieces, group, &mut bins, limit)).then_some(bins)
}

/// Places a group: as a whole where it fits, otherwise as much as fits where there is most room, and then the rest alike.
fn place(pieces: &[Piece], group: &Group, bins: &mut [Bin], limit: u64) -> bool {
    let mut left = group.pieces.clone();
    while !left.is_empty() {
        let whole = group.bring_up + takes(pieces, &left);
        let tightest = bins.iter_mut().filter(|bin| bin.load + whole <= limit).min_by_key(|bin| limit - bin.load);
        if let Some(bin) = tightest {
            bin.load += whole;
            bin.pieces.append(&mut left);
            return true;
        }
        let Some(roomiest) = bins.iter_mut().min_by_key(|bin| bin.load) else { return false };
        let mut load = roomiest.load + group.bring_up;
        let fits = |index: &usize| {
            let takes = pieces[*index].takes;
            let fits = load + takes <= limit;
            load += if fits { takes } else { 0 };
            fits
        };
        let (placed, rest): (Vec<usize>, Vec<usize>) = left.into_iter().partition(fits);
        if placed.is_empty() {
            return false;
        }
        roomiest.load = load;
        roomiest.pieces.extend(placed);
        left = rest;
    }
    true
}

/// Gives each shard that has nothing one piece of the shard that takes longest and has several. No limit is passed by that:
/// none is below what any piece takes alone.
fn fill_empty(pieces: &[Piece], groups: &[Group], bins: &mut [Bin]) {
    while let Some(empty) = bins.iter().position(|bin| bin.pieces.is_empty()) {
        let several = bins.iter_mut().filter(|bin| bin.pieces.len() > 1);
        let Some(donor) = several.max_by_key(|bin| bin.load) else { return };
        let given = donor.pieces.pop();
        donor.load = load(pieces, groups, &donor.pieces);
        bins[empty].pieces.extend(given);
        bins[empty].load = load(pieces, groups, &bins[empty].pieces);
    }
}

#[cfg(test)]
mod tests;
