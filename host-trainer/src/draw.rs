//! Images in a terminal: two pixels a character in shades of grey, or plain characters where there is no colour.

use std::fmt::Write;
use std::io::IsTerminal;

use bn_core::Image;
use bn_core::lenet::IMAGE_SIDE;

/// Columns between two images.
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
    /// The 24 greys of the 256-colour palette.
    Palette,
    /// Characters alone.
    Characters,
}

/// An image with the lines below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture<'a> {
    /// The pixels.
    pub image: &'a Image,
    /// Lines of text, at most [`IMAGE_SIDE`] characters each.
    pub caption: Vec<String>,
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

/// Pictures side by side, as many as fit into `columns`, then the next row below.
pub fn draw(pictures: &[Picture<'_>], shades: Shades, columns: usize) -> String {
    let across = ((columns + GAP) / (IMAGE_SIDE + GAP)).max(1);
    let mut text = String::new();
    for row in pictures.chunks(across) {
        for line in 0..IMAGE_SIDE / 2 {
            let cells: Vec<_> = row.iter().map(|p| cells(p.image, line, shades)).collect();
            writeln!(text, "{}", cells.join(&" ".repeat(GAP)).trim_end()).expect("a string takes everything");
        }
        let lines = row.iter().map(|p| p.caption.len()).max().unwrap_or(0);
        for line in 0..lines {
            let caption = |p: &Picture<'_>| format!("{:IMAGE_SIDE$}", p.caption.get(line).map_or("", |c| c));
            let captions: Vec<_> = row.iter().map(caption).collect();
            writeln!(text, "{}", captions.join(&" ".repeat(GAP)).trim_end()).expect("a string takes everything");
        }
        text.push('\n');
    }
    text
}

/// Rows `2 * line` and `2 * line + 1` of an image, one character a column.
fn cells(image: &Image, line: usize, shades: Shades) -> String {
    let (upper, lower) = (&image[2 * line], &image[2 * line + 1]);
    let mut text = String::new();
    for (&upper, &lower) in upper.iter().zip(lower) {
        match shades {
            Shades::True => {
                write!(text, "\x1b[38;2;{upper};{upper};{upper};48;2;{lower};{lower};{lower}m▀").expect("a string");
            }
            Shades::Palette => write!(text, "\x1b[38;5;{};48;5;{}m▀", grey(upper), grey(lower)).expect("a string"),
            Shades::Characters => {
                let ink = (usize::from(upper) + usize::from(lower)) * (RAMP.len() - 1) / (2 * 255);
                text.push(char::from(RAMP[ink]));
            }
        }
    }
    if shades != Shades::Characters {
        text += "\x1b[0m";
    }
    text
}

/// The palette's nearest grey: black, 24 steps, white.
fn grey(value: u8) -> u8 {
    match (u16::from(value) * 25 + 127) / 255 {
        0 => 16,
        25 => 231,
        step => 231 + step as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let mut image = [[0; IMAGE_SIDE]; IMAGE_SIDE];
        image[0][0] = 255;
        image[1] = [255; IMAGE_SIDE];
        image
    }

    #[test]
    fn characters_have_the_ink_of_both_pixels() {
        let line = cells(&image(), 0, Shades::Characters);
        assert_eq!(line.chars().take(2).collect::<String>(), "@=");
        assert_eq!(cells(&image(), 1, Shades::Characters).trim(), "");
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
    fn colour_ends_with_its_line() {
        for shades in [Shades::True, Shades::Palette] {
            let line = cells(&image(), 0, shades);
            assert_eq!(line.matches('▀').count(), IMAGE_SIDE);
            assert!(line.ends_with("\x1b[0m"));
        }
    }

    #[test]
    fn as_many_stand_side_by_side_as_fit() {
        let image = image();
        let pictures = vec![Picture { image: &image, caption: vec!["a bag".into()] }; 5];
        for (columns, rows) in [(10, 5), (57, 5), (58, 3), (88, 2), (148, 1)] {
            let text = draw(&pictures, Shades::Characters, columns);
            assert_eq!(text.lines().count(), rows * (IMAGE_SIDE / 2 + 2), "{columns}");
            assert_eq!(text.matches("a bag").count(), 5);
            assert!(columns < IMAGE_SIDE || text.lines().all(|l| l.len() <= columns), "{columns}");
        }
    }
}
