//! Chooses a place in the arena for each tensor (feature `build`).
//!
//! Largest first, each at the lowest place where it meets nothing that is there at the same time. What a step gives may take the
//! place of what it reads; that is tried step by step, and kept where the arena shrinks.

use std::vec::Vec;

use super::{Family, Shapes, read_until};
use crate::network::{Topology, Value};

/// A step: its family, its first node, what it takes.
pub(super) type Chosen = (Family, usize, Shapes);

/// A tensor or what a step works in, and the steps from whose start to whose end it must stay.
#[derive(Clone, Copy)]
struct Piece {
    words: usize,
    from: usize,
    to: usize,
}

/// Pieces that lie at fixed distances from each other: by number, and from where on.
type Group = Vec<(usize, isize)>;

/// The step whose output a step's own takes the place of, if any, and at what distance from it.
type Share = Option<(usize, isize)>;

/// Where each step's output and scratch lie.
pub(super) fn places(topology: &Topology<'_>, chosen: &[Chosen]) -> Vec<(u32, u32)> {
    let arena = Arena::new(topology, chosen);
    let possible: Vec<Share> = (0..chosen.len()).map(|step| arena.share(step)).collect();
    let nothing = std::vec![None; chosen.len()];
    let starts = [&possible, &nothing].map(|start| arena.improve(start.clone(), &possible));
    let best = if starts[0].0 <= starts[1].0 { &starts[0].1 } else { &starts[1].1 };
    let places = arena.place(best);
    (0..chosen.len()).map(|step| (places[step] as u32, places[chosen.len() + step] as u32)).collect()
}

struct Arena<'a> {
    topology: &'a Topology<'a>,
    chosen: &'a [Chosen],
    /// Outputs of the steps, then what they work in.
    pieces: Vec<Piece>,
}

impl<'a> Arena<'a> {
    fn new(topology: &'a Topology<'a>, chosen: &'a [Chosen]) -> Self {
        let ends: Vec<usize> = chosen.iter().map(|(.., shapes)| shapes.last).collect();
        let outputs = chosen.iter().enumerate().map(|(at, (.., shapes))| Piece {
            words: shapes.output,
            from: at,
            to: read_until(topology, &ends, at),
        });
        let scratches = (0..chosen.len()).map(|at| Piece { words: chosen[at].2.scratch, from: at, to: at });
        let pieces = outputs.chain(scratches).collect();
        Self { topology, chosen, pieces }
    }

    /// What a step's output may take the place of.
    fn share(&self, step: usize) -> Share {
        let (_, first, shapes) = &self.chosen[step];
        let reads = self.topology.nodes[*first].input;
        let gives = |value: Value| self.chosen.iter().position(|(.., from)| value == Value::Node(from.last));
        // Replaced by the last step that reads it, and that reads it once.
        let ends_here = |from: &usize| self.pieces[*from].to == step && shapes.other != Some(reads);
        if let Some(from) = shapes.other.filter(|_| shapes.other_in_place).and_then(gives).filter(ends_here) {
            return Some((from, 0));
        }
        match gives(reads).filter(ends_here) {
            Some(from) if shapes.in_place => Some((from, 0.min(shapes.input as isize - shapes.output as isize))),
            _ => None,
        }
    }

    /// Words that such places take, and those of the best that is one step away again and again.
    fn improve(&self, mut shares: Vec<Share>, possible: &[Share]) -> (usize, Vec<Share>) {
        let mut words = self.words(&shares);
        loop {
            let turned = (0..shares.len()).filter(|&step| possible[step].is_some()).map(|step| {
                let mut other = shares.clone();
                other[step] = if shares[step].is_none() { possible[step] } else { None };
                (self.words(&other), other)
            });
            match turned.min_by_key(|(words, _)| *words) {
                Some((fewer, better)) if fewer < words => (words, shares) = (fewer, better),
                _ => return (words, shares),
            }
        }
    }

    fn words(&self, shares: &[Share]) -> usize {
        let places = self.place(shares);
        self.pieces.iter().zip(places).map(|(piece, place)| place + piece.words).max().unwrap_or(0)
    }

    /// Pieces that share, by the first of them.
    fn groups(&self, shares: &[Share]) -> Vec<Group> {
        let mut groups: Vec<Group> = (0..self.pieces.len()).map(|piece| std::vec![(piece, 0)]).collect();
        // A step shares with one before it, so whatever that shares with is known.
        let mut homes: Vec<(usize, isize)> = (0..self.pieces.len()).map(|piece| (piece, 0)).collect();
        for (step, share) in shares.iter().enumerate() {
            if let Some((from, distance)) = *share {
                let (home, at) = homes[from];
                homes[step] = (home, at + distance);
                groups[step].clear();
                groups[home].push(homes[step]);
                groups[home].last_mut().expect("just pushed").0 = step;
            }
        }
        groups
    }

    /// Where each piece lies.
    fn place(&self, shares: &[Share]) -> Vec<usize> {
        let size = |group: &Group| group.iter().map(|&(piece, _)| self.pieces[piece].words).max().unwrap_or(0);
        let mut groups = self.groups(shares);
        groups.retain(|group| size(group) > 0);
        groups.sort_by_key(|group| core::cmp::Reverse(size(group)));
        let mut places: Vec<Option<usize>> = std::vec![None; self.pieces.len()];
        for group in groups {
            let lowest = group.iter().map(|&(_, at)| at).min().unwrap_or(0);
            let mut base = 0;
            // Past whatever it meets, until it meets nothing.
            while let Some(past) = group.iter().find_map(|&(piece, at)| {
                let offset = (at - lowest) as usize;
                self.meets(&places, piece, base + offset).map(|end| end - offset.min(end))
            }) {
                base = past.max(base + 1);
            }
            for (piece, at) in group {
                places[piece] = Some(base + (at - lowest) as usize);
            }
        }
        places.into_iter().map(|place| place.unwrap_or(0)).collect()
    }

    /// The end of something that a piece would meet at a place.
    fn meets(&self, places: &[Option<usize>], piece: usize, place: usize) -> Option<usize> {
        let Piece { words, from, to } = self.pieces[piece];
        let others = self.pieces.iter().zip(places).filter_map(|(other, at)| Some((other, (*at)?)));
        let mut met = others.filter(|(other, at)| {
            let at_once = other.from <= to && from <= other.to && words > 0 && other.words > 0;
            at_once && place < at + other.words && *at < place + words
        });
        met.next().map(|(other, at)| at + other.words)
    }
}
