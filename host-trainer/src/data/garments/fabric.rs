//! What garments are made of: brightness, light from one side, folds, patterns.

use super::dice::Dice;

/// A place on the garment: x to the right from its axis, y down from the upper edge, in pixels before [`Placement`](super::canvas::Placement).
pub(super) type Point = [f64; 2];

/// What is printed or woven.
#[derive(Clone, Copy, Debug)]
enum Pattern {
    Plain,
    /// Bands across the garment, or along it.
    Stripes {
        period: f64,
        /// Share of the period that is printed.
        duty: f64,
        along: bool,
    },
    Checks {
        period: f64,
    },
    /// A block on the chest.
    Print {
        centre: Point,
        size: Point,
    },
    /// The upper and the lower part in two colours.
    Blocks {
        at: f64,
    },
}

/// A soft line where the cloth catches or loses light.
#[derive(Clone, Copy, Debug)]
struct Fold {
    /// Through this point, with this slope dx/dy.
    through: Point,
    slope: f64,
    width: f64,
    strength: f64,
}

/// Side of the grid of uneven brightness.
const GRID: usize = 6;

/// A piece of cloth, leather or sole.
#[derive(Clone, Debug)]
pub(super) struct Fabric {
    base: f64,
    /// Relative change of brightness from the axis to 14 pixels beside it, and from the top to the bottom.
    light: Point,
    pattern: Pattern,
    /// Factor of brightness inside the pattern.
    contrast: f64,
    folds: Vec<Fold>,
    /// Relative brightness on a grid of 6 pixels' distance.
    uneven: [[f64; GRID]; GRID],
}

impl Fabric {
    /// Of one brightness everywhere.
    pub(super) fn plain(base: f64) -> Self {
        Self {
            base,
            light: [0.0; 2],
            pattern: Pattern::Plain,
            contrast: 1.0,
            folds: Vec::new(),
            uneven: [[0.0; GRID]; GRID],
        }
    }

    /// A random cloth of that brightness without a pattern.
    pub(super) fn cloth(base: f64, dice: &mut Dice) -> Self {
        let mut fabric = Self::plain(base);
        fabric.light = [dice.bell() * 0.05, dice.bell() * 0.10];
        for value in fabric.uneven.as_flattened_mut() {
            *value = dice.bell() * 0.07;
        }
        for _ in 0..dice.below(4) {
            fabric.folds.push(Fold {
                through: [dice.between(-7.0, 7.0), dice.between(6.0, 24.0)],
                slope: dice.bell() * 0.5,
                width: dice.between(0.6, 2.0),
                strength: dice.bell() * 0.16,
            });
        }
        fabric
    }

    /// With that probability under a random pattern.
    pub(super) fn with_pattern(mut self, probability: f64, dice: &mut Dice) -> Self {
        let patterned = dice.chance(probability);
        let kind = dice.below(6);
        let (period, duty) = (dice.between(2.2, 6.0), dice.between(0.25, 0.6));
        let centre = [dice.between(-1.5, 1.5), dice.between(9.0, 15.0)];
        let size = [dice.between(3.0, 9.0), dice.between(2.0, 8.0)];
        self.contrast = if dice.chance(0.5) { dice.between(0.35, 0.8) } else { dice.between(1.2, 1.7) };
        if patterned {
            self.pattern = match kind {
                0 | 1 => Pattern::Stripes { period, duty, along: false },
                2 => Pattern::Stripes { period: period * 0.8, duty, along: true },
                3 => Pattern::Checks { period },
                4 => Pattern::Print { centre, size },
                _ => Pattern::Blocks { at: centre[1] },
            };
        }
        self
    }

    /// The same cloth, brighter or darker.
    pub(super) fn scaled(&self, factor: f64) -> Self {
        Self { base: (self.base * factor).clamp(8.0, 255.0), ..self.clone() }
    }

    /// Brightness at a place, 0 to 255.
    pub(super) fn shade(&self, [x, y]: Point) -> f64 {
        let mut factor = 1.0 + self.light[0] * x / 14.0 + self.light[1] * (y - 14.0) / 14.0 + self.unevenness([x, y]);
        for fold in &self.folds {
            let distance = x - fold.through[0] - fold.slope * (y - fold.through[1]);
            let relative = distance / fold.width;
            // A bump without an exponential.
            factor += fold.strength / (1.0 + relative * relative);
        }
        factor *= 1.0 + (self.contrast - 1.0) * self.printed([x, y]);
        (self.base * factor).clamp(4.0, 255.0)
    }

    /// How much of a place is inside the pattern, 0 to 1. Edges are a pixel wide, so that fine patterns do not alias.
    fn printed(&self, [x, y]: Point) -> f64 {
        let soft = |inside: f64| (inside + 0.5).clamp(0.0, 1.0);
        let band = |value: f64, period: f64, width: f64| {
            let at = value - (value / period).floor() * period;
            soft(at.min(width - at)).max(soft(at - period))
        };
        match self.pattern {
            Pattern::Plain => 0.0,
            Pattern::Stripes { period, duty, along } => band(if along { x } else { y }, period, duty * period),
            Pattern::Checks { period } => {
                let (column, row) = (band(x, period, period / 2.0), band(y, period, period / 2.0));
                column * (1.0 - row) + row * (1.0 - column)
            }
            Pattern::Print { centre, size } => {
                soft(size[0] / 2.0 - (x - centre[0]).abs()).min(soft(size[1] / 2.0 - (y - centre[1]).abs()))
            }
            Pattern::Blocks { at } => soft(at - y),
        }
    }

    /// Bilinear between the grid's values.
    fn unevenness(&self, [x, y]: Point) -> f64 {
        let last = (GRID - 1) as f64 - 0.001;
        let (x, y) = (((x + 14.0) / 6.0).clamp(0.0, last), (y / 6.0).clamp(0.0, last));
        let (column, row) = (x as usize, y as usize);
        let (right, down) = (x - column as f64, y - row as f64);
        let between = |row: &[f64; GRID]| row[column] + (row[column + 1] - row[column]) * right;
        let (upper, lower) = (between(&self.uneven[row]), between(&self.uneven[row + 1]));
        upper + (lower - upper) * down
    }
}
