//! How many threads are worth starting, and work shared among them. Asks the system, touches nothing.

use std::num::NonZero;

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// `f` of every item, in order, on all cores.
pub(crate) fn each<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (share, f) = (items.len().div_ceil(cores()).max(1), &f);
    std::thread::scope(|scope| {
        let shares = items.chunks(share).map(|items| scope.spawn(move || items.iter().map(f).collect::<Vec<R>>()));
        let shares: Vec<_> = shares.collect();
        shares.into_iter().flat_map(|share| share.join().expect("a share does not panic")).collect()
    })
}
