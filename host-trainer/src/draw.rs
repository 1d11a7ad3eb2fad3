//! Pictures in a terminal: two pixels a character in colour, or plain characters where there is no colour.

use std::fmt::Write;
use std::io::IsTerminal;

use bn_core::network::Shape;

use crate::data::picture::{Picture, Source, resize};

/// Columns between two pictures.
const GAP: usize = 2;
/// Columns that are assumed where nothing says how many there are.
pub const DEFAULT_COLUMNS: usize = 100;
/// Characters by how much ink they have.
const RAMP: &[u8] = b" .:-=+*#%@";

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shades {
    /// 24-bit colour.
    True,
    /// The 24 greys and the 6x6x6 colours of the 256-colour palette.
    Palette,
    /// Characters alone.
    Characters,
}

/// Pixels, row by row: red, green, blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raster {
    width: usize,
    pixels: Vec<[u8; 3]>,
}

/// A drawing with the lines below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captioned {
    /// The pixels.
    pub raster: Raster,
    /// Lines of text, at most as wide as the drawing.
    pub caption: Vec<String>,
}

impl Raster {
    /// Of an input of one channel (grey) or three, one channel after another.
    ///
    /// # Panics
    /// If the values are not of that shape.
    pub fn new(shape: Shape, planes: &[u8]) -> Self {
        let area = shape.height * shape.width;
        let channel = |at: usize| if shape.channels == 3 { at * area } else { 0 };
        let pixels = (0..area).map(|at| [0, 1, 2].map(|colour| planes[channel(colour) + at]));
        Self { width: shape.width, pixels: pixels.collect() }
    }

    /// Columns that it takes.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The same, made smaller where it is wider than that.
    #[must_use]
    pub fn at_most(self, columns: usize) -> Self {
        if self.width <= columns {
            return self;
        }
        let (width, height) = (self.width, self.pixels.len() / self.width);
        let pixels = self.pixels.into_flattened();
        let picture = Picture { width, height, channels: 3, pixels, source: Source::default(), done: Vec::new() };
        let rows = (height * columns / width).max(1);
        let pixels = resize(&picture, rows, columns).as_chunks().0.to_vec();
        Self { width: columns, pixels }
    }

    /// The lines of the drawing, two rows each.
    pub fn lines(&self, shades: Shades) -> Vec<String> {
        let rows: Vec<&[[u8; 3]]> = self.pixels.chunks(self.width).collect();
        // Below the last of an odd number of rows there is nothing.
        let nothing = vec![[0; 3]; self.width];
        rows.chunks(2).map(|pair| line(pair[0], pair.get(1).unwrap_or(&nothing.as_slice()), shades)).collect()
    }
}

impl Shades {
    /// What stdout can show: no colour unless it is a terminal and `NO_COLOR` is not set.
    pub fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        if !stdout.is_terminal() || anstream::AutoStream::choice(&stdout) == anstream::ColorChoice::Never {
            return Shades::Characters;
        }
        match std::env::var("COLORTERM").as_deref() {
            Ok("truecolor" | "24bit") => Shades::True,
            _ => Shades::Palette,
        }
    }
}

/// Columns of the terminal; [`DEFAULT_COLUMNS`] where there is none.
pub fn columns_of_stdout() -> usize {
    let is_terminal = std::io::stdout().is_terminal();
    is_terminal.then(terminal_size::terminal_size).flatten().map_or(DEFAULT_COLUMNS, |(width, _)| width.0.into())
}

/// Drawings of one size side by side, as many as fit into `columns`, then the next row below.
pub fn draw(pictures: &[Captioned], shades: Shades, columns: usize) -> String {
    let width = pictures.first().map_or(1, |picture| picture.raster.width);
    let across = ((columns + GAP) / (width + GAP)).max(1);
    let mut text = String::new();
    for row in pictures.chunks(across) {
        let mut drawings: Vec<_> = row.iter().map(|picture| picture.raster.lines(shades).into_iter()).collect();
        while let Some(cells) = drawings.iter_mut().map(Iterator::next).collect::<Option<Vec<_>>>() {
            writeln!(text, "{}", cells.join(&" ".repeat(GAP)).trim_end()).expect("a string takes everything");
        }
        let lines = row.iter().map(|p| p.caption.len()).max().unwrap_or(0);
        for line in 0..lines {
            let caption = |p: &Captioned| format!("{:width$}", p.caption.get(line).map_or("", |c| c));
            let captions: Vec<_> = row.iter().map(caption).collect();
            writeln!(text, "{}", captions.join(&" ".repeat(GAP)).trim_end()).expect("a string takes everything");
        }
        text.push('\n');
    }
    text
}

/// Two rows of pixels, one character a column.
fn line(upper: &[[u8; 3]], lower: &[[u8; 3]], shades: Shades) -> String {
    let mut text = String::new();
    for (&upper, &lower) in upper.iter().zip(lower) {
        match shades {
            Shades::True => {
                let ([a, b, c], [d, e, f]) = (upper, lower);
                write!(text, "\x1b[38;2;{a};{b};{c};48;2;{d};{e};{f}m▀").expect("a string");
            }
            Shades::Palette => {
                write!(text, "\x1b[38;5;{};48;5;{}m▀", palette(upper), palette(lower)).expect("a string");
            }
            Shades::Characters => {
                let ink = (brightness(upper) + brightness(lower)) * (RAMP.len() - 1) / (2 * 255);
                text.push(char::from(RAMP[ink]));
            }
        }
    }
    if shades != Shades::Characters {
        text += "\x1b[0m";
    }
    text
}

fn brightness(pixel: [u8; 3]) -> usize {
    pixel.map(usize::from).iter().sum::<usize>() / 3
}

/// The palette's nearest colour: a grey of black, 24 steps and white, or one of the cube.
fn palette([red, green, blue]: [u8; 3]) -> u8 {
    if (red, green) == (green, blue) {
        return match (u16::from(red) * 25 + 127) / 255 {
            0 => 16,
            25 => 231,
            step => 231 + step as u8,
        };
    }
    // The cube's steps are 0, 95, 135, 175, 215 and 255.
    let step = |value: u8| if value < 48 { 0 } else { (value.max(75) - 35) / 40 };
    16 + 36 * step(red) + 6 * step(green) + step(blue)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 28;

    fn grey(value: u8) -> u8 {
        palette([value; 3])
    }

    /// One white pixel, below it a white row.
    fn raster() -> Raster {
        let mut pixels = vec![0; SIDE * SIDE];
        pixels[0] = 255;
        pixels[SIDE..2 * SIDE].fill(255);
        Raster::new(Shape::new(1, SIDE, SIDE), &pixels)
    }

    #[test]
    fn characters_have_the_ink_of_both_pixels() {
        let lines = raster().lines(Shades::Characters);
        assert_eq!(lines[0].chars().take(2).collect::<String>(), "@=");
        assert_eq!((lines.len(), lines[1].trim()), (SIDE / 2, ""));
    }

    #[test]
    fn greys_run_from_black_to_white() {
        assert_eq!((grey(0), grey(255)), (16, 231));
        let brightness = |v| match grey(v) {
            16 => 0,
            231 => 25,
            step => step - 231,
        };
        assert!((1..=255).all(|v| brightness(v) >= brightness(v - 1)));
    }

    #[test]
    fn colours_are_the_cubes() {
        assert_eq!([[255, 0, 0], [0, 255, 0], [0, 0, 255], [95, 135, 175]].map(palette), [196, 46, 21, 67]);
        let steps = [0, 95, 135, 175, 215, 255];
        let nearest = |v: u8| (0..6).min_by_key(|&step: &usize| v.abs_diff(steps[step])).unwrap() as u8;
        for value in 1..=255 {
            let step = (palette([value, 0, 0]) - 16) / 36;
            assert!(steps[usize::from(step)].abs_diff(value) <= steps[usize::from(nearest(value))].abs_diff(value) + 1);
        }
    }

    #[test]
    fn colour_ends_with_its_line() {
        for shades in [Shades::True, Shades::Palette] {
            let line = &raster().lines(shades)[0];
            assert_eq!(line.matches('▀').count(), SIDE);
            assert!(line.ends_with("\x1b[0m"));
        }
    }

    #[test]
    fn channels_are_colours_and_what_is_too_wide_shrinks() {
        let shape = Shape::new(3, 3, 6);
        let planes: Vec<u8> = [[255; 18], [128; 18], [0; 18]].concat();
        let raster = Raster::new(shape, &planes);
        assert!(raster.lines(Shades::True)[1].starts_with("\x1b[38;2;255;128;0;48;2;0;0;0m"), "an odd row");
        let small = raster.clone().at_most(4);
        assert_eq!((small.width(), small.lines(Shades::True).len(), small.pixels[0]), (4, 1, [255, 128, 0]));
        assert_eq!(raster.clone().at_most(6), raster);
    }

    #[test]
    fn as_many_stand_side_by_side_as_fit() {
        let pictures = vec![Captioned { raster: raster(), caption: vec!["a bag".into()] }; 5];
        for (columns, rows) in [(10, 5), (57, 5), (58, 3), (88, 2), (148, 1)] {
            let text = draw(&pictures, Shades::Characters, columns);
            assert_eq!(text.lines().count(), rows * (SIDE / 2 + 2), "{columns}");
            assert_eq!(text.matches("a bag").count(), 5);
            assert!(columns < SIDE || text.lines().all(|l| l.len() <= columns), "{columns}");
        }
    }
}
