//! T-shirts, pullovers, coats and shirts: one cut with sleeves, told apart by proportions, neckline, collar and front, none of
//! which is certain. Draws on a canvas, nothing else.

use super::canvas::{Canvas, curve, symmetric};
use super::dice::Dice;
use super::fabric::Fabric;
use super::fabric::Point;

/// Which garment is to be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Top {
    TShirt,
    Pullover,
    Coat,
    Shirt,
}

/// Half widths and heights of a body and its sleeves, in pixels. Dresses use it as well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) neck: f64,
    pub(super) neck_depth: f64,
    pub(super) shoulder: Point,
    pub(super) armpit: Point,
    pub(super) waist: Point,
    pub(super) hem: Point,
    /// How far the hem sags in the middle.
    pub(super) sag: f64,
    /// Along its upper edge; 0 for none.
    pub(super) sleeve: f64,
    /// Direction of the sleeve: x for each unit of y.
    pub(super) spread: f64,
    pub(super) cuff: f64,
}

/// Draws a top of that kind.
pub(super) fn draw(canvas: &mut Canvas, top: Top, dice: &mut Dice) {
    let cut = cut(top, dice);
    let patterned = match top {
        Top::TShirt => 0.4,
        Top::Pullover => 0.3,
        Top::Coat => 0.12,
        Top::Shirt => 0.45,
    };
    let fabric = Fabric::cloth(brightness(dice), dice).with_pattern(patterned, dice);
    body_and_sleeves(canvas, &cut, &fabric, dice);
    neckline(canvas, &cut, dice.chance(if top == Top::TShirt { 0.3 } else { 0.15 }), &fabric, dice);
    match top {
        Top::TShirt => {}
        Top::Pullover => pullover_details(canvas, &cut, &fabric, dice),
        Top::Coat => coat_details(canvas, &cut, &fabric, dice),
        Top::Shirt => shirt_details(canvas, &cut, &fabric, dice),
    }
}

/// Mostly bright, sometimes dark, as product photographs on a black ground are.
pub(super) fn brightness(dice: &mut Dice) -> f64 {
    if dice.chance(0.25) { dice.between(35.0, 110.0) } else { dice.between(115.0, 245.0) }
}

/// The proportions of a kind, with what the kinds have in common.
fn cut(top: Top, dice: &mut Dice) -> Cut {
    let long = match top {
        Top::TShirt => dice.chance(0.12),
        Top::Pullover => dice.chance(0.92),
        Top::Coat => dice.chance(0.97),
        Top::Shirt => dice.chance(0.62),
    };
    let width = match top {
        Top::TShirt | Top::Shirt => dice.between(5.8, 8.3),
        Top::Pullover => dice.between(6.2, 8.4),
        Top::Coat => dice.between(6.3, 8.6),
    };
    let upper = dice.between(0.6, 2.6);
    let lower = dice.between(24.5, 27.4);
    let armpit = upper + dice.between(6.5, 9.5);
    let flare = if top == Top::Coat { dice.between(-0.3, 1.6) } else { dice.between(-0.7, 1.0) };
    let slope = dice.between(1.0, 2.6);
    Cut {
        neck: dice.between(2.2, 4.4),
        neck_depth: if top == Top::TShirt { dice.between(0.8, 4.0) } else { dice.between(0.4, 3.2) },
        shoulder: [width + dice.between(-0.3, 1.0), upper + slope],
        armpit: [width, armpit],
        waist: [width - dice.between(0.0, 1.3) + flare * 0.3, dice.between(15.0, 19.0)],
        hem: [width + flare, lower],
        sag: dice.between(-0.4, 1.0),
        sleeve: if long { dice.between(17.0, 22.5) } else { sleeve_of_summer(top, dice) },
        spread: if long { dice.between(0.12, 0.42) } else { dice.between(0.3, 0.95) },
        cuff: if long { dice.between(1.6, 2.5) } else { dice.between(2.6, 3.9) },
    }
}

fn sleeve_of_summer(top: Top, dice: &mut Dice) -> f64 {
    match top {
        Top::TShirt if dice.chance(0.1) => 0.0,
        Top::Shirt if dice.chance(0.2) => dice.between(0.0, 1.5),
        _ => dice.between(4.5, 10.0),
    }
}

/// The parts every top has. Returns nothing; details come after.
pub(super) fn body_and_sleeves(canvas: &mut Canvas, cut: &Cut, fabric: &Fabric, dice: &mut Dice) {
    if cut.sleeve > 0.5 {
        let outline = sleeve(cut);
        let shade = fabric.scaled(dice.between(0.82, 1.06));
        canvas.fill_both(&outline, &shade);
        if dice.chance(0.35) {
            let end = &outline[outline.len() / 2 - 1..=outline.len() / 2];
            let factor = dice.between(0.6, 1.25);
            canvas.tint_line(end, 2.4, factor);
            canvas.tint_line(&[[-end[0][0], end[0][1]], [-end[1][0], end[1][1]]], 2.4, factor);
        }
    }
    let top = cut.shoulder[1] - (cut.shoulder[0] - cut.neck) * 0.3;
    let mut right = vec![[cut.neck, top], cut.shoulder];
    right.extend(curve(cut.shoulder, [cut.armpit[0] - 0.4, cut.armpit[1] - 2.5], cut.armpit));
    right.extend(curve(cut.armpit, cut.waist, cut.hem));
    right.push([0.0, cut.hem[1] + cut.sag]);
    canvas.fill(&symmetric(&right), fabric);
    // The seam between body and sleeve.
    if cut.sleeve > 0.5 {
        let factor = dice.between(0.55, 0.95);
        let seam = [[cut.shoulder[0] - 0.2, cut.shoulder[1] + 0.6], cut.armpit, [cut.waist[0], cut.waist[1]]];
        canvas.tint_line(&seam, 0.7, factor);
        canvas.tint_line(&super::canvas::mirrored(&seam), 0.7, factor);
    }
    if dice.chance(0.4) {
        let y = cut.hem[1] - dice.between(0.8, 2.0);
        canvas.tint_line(&[[-cut.hem[0], y], [cut.hem[0], y]], 0.8, dice.between(0.6, 0.95));
    }
}

/// The right sleeve; the two points in the middle of the list are its end.
fn sleeve(cut: &Cut) -> Vec<Point> {
    let [x, y] = cut.shoulder;
    let length = (1.0 + cut.spread * cut.spread).sqrt();
    let (dx, dy) = (cut.spread / length, 1.0 / length);
    let outer = [(x + dx * cut.sleeve).min(13.8), (y + dy * cut.sleeve).min(27.4)];
    // The end stands across the sleeve.
    let inner = [outer[0] - dy * cut.cuff * 1.6, outer[1] + dx * cut.cuff * 1.6];
    let bulge = [x + dx * cut.sleeve * 0.4 + 1.2, y + dy * cut.sleeve * 0.3];
    let mut outline = curve([x - 1.0, y - 0.6], bulge, outer);
    let count = outline.len();
    let back = [(inner[0] + cut.armpit[0]) / 2.0 - 0.2, (inner[1] + cut.armpit[1]) / 2.0];
    outline.extend(curve(inner, back, [cut.armpit[0] - 0.6, cut.armpit[1]]));
    debug_assert_eq!(outline.len(), 2 * count);
    outline
}

/// The opening for the head: round or pointed, the inside of the back visible in it.
pub(super) fn neckline(canvas: &mut Canvas, cut: &Cut, pointed: bool, fabric: &Fabric, dice: &mut Dice) {
    let top = cut.shoulder[1] - (cut.shoulder[0] - cut.neck) * 0.3 - 0.3;
    let depth = if pointed { cut.neck_depth * 1.6 + 1.0 } else { cut.neck_depth };
    let bottom = [0.0, top + 0.3 + depth];
    let edge = if pointed {
        vec![[cut.neck, top], bottom]
    } else {
        curve([cut.neck, top], [cut.neck * 0.8, bottom[1]], bottom)
    };
    canvas.cut(&symmetric(&edge));
    if dice.chance(0.75) {
        let back = curve([cut.neck, top + 0.3], [cut.neck * 0.6, top + 0.9], [0.0, top + 0.9]);
        let inside: Vec<Point> = back.into_iter().chain(edge.iter().rev().copied()).collect();
        canvas.fill_both(&inside, &fabric.scaled(dice.between(0.35, 0.75)));
    }
    let factor = dice.between(0.65, 1.2);
    canvas.tint_line(&edge, 1.0, factor);
    canvas.tint_line(&super::canvas::mirrored(&edge), 1.0, factor);
}

/// Cuffs and hem of ribbing, a hood, a high collar, a zip at the neck.
fn pullover_details(canvas: &mut Canvas, cut: &Cut, fabric: &Fabric, dice: &mut Dice) {
    let [x, y] = [cut.neck, cut.shoulder[1] - (cut.shoulder[0] - cut.neck) * 0.3];
    if dice.chance(0.2) {
        let hood = symmetric(&curve([0.0, y - 1.6], [x + 1.8, y - 1.0], [x * 0.7, y + 3.5]));
        canvas.fill(&hood, &fabric.scaled(dice.between(0.6, 0.9)));
    } else if dice.chance(0.2) {
        let collar = symmetric(&[[x * 0.8, (y - 1.6).max(0.2)], [x, y + 1.4]]);
        canvas.fill(&collar, &fabric.scaled(dice.between(0.7, 1.1)));
    }
    if dice.chance(0.12) {
        opening(canvas, cut, dice.between(4.0, 24.0), dice);
    }
    if dice.chance(0.2) {
        // A pouch.
        let (w, h) = (dice.between(3.0, 5.0), dice.between(3.5, 5.5));
        let pouch = [[-w, 24.0], [-w * 0.7, 24.0 - h], [w * 0.7, 24.0 - h], [w, 24.0]];
        canvas.tint_line(&pouch, 0.7, dice.between(0.55, 0.8));
    }
}

/// Lapels or a collar, the opening in front, pockets, a belt.
fn coat_details(canvas: &mut Canvas, cut: &Cut, fabric: &Fabric, dice: &mut Dice) {
    if dice.chance(0.45) {
        lapels(canvas, cut, dice.between(4.0, 10.0), fabric, dice);
    } else if dice.chance(0.6) {
        collar(canvas, cut, fabric, dice);
    }
    if dice.chance(0.9) {
        opening(canvas, cut, 30.0, dice);
    }
    if dice.chance(0.3) {
        buttons(canvas, dice.between(-1.6, 1.6), [dice.between(8.0, 11.0), 23.0], dice.below(3) + 2, dice);
    }
    if dice.chance(0.5) {
        let (x, y) = (dice.between(2.5, 4.5), dice.between(17.0, 20.5));
        let pocket = [[x, y], [x + dice.between(1.2, 2.2), y - dice.between(-0.4, 1.5)]];
        let factor = dice.between(0.45, 0.75);
        canvas.tint_line(&pocket, 0.9, factor);
        canvas.tint_line(&super::canvas::mirrored(&pocket), 0.9, factor);
    }
    if dice.chance(0.12) {
        canvas.tint_line(&[[-cut.waist[0] - 0.5, 16.5], [cut.waist[0] + 0.5, 16.5]], 1.6, dice.between(0.5, 0.8));
    }
}

/// A collar, a button strip, a breast pocket.
fn shirt_details(canvas: &mut Canvas, cut: &Cut, fabric: &Fabric, dice: &mut Dice) {
    if dice.chance(0.75) {
        collar(canvas, cut, fabric, dice);
    }
    if dice.chance(0.75) {
        let x = dice.between(-0.4, 0.4);
        let end = if dice.chance(0.75) { 27.0 } else { dice.between(9.0, 14.0) };
        if dice.chance(0.7) {
            canvas.tint_line(&[[x, cut.shoulder[1] + 0.5], [x, end]], 1.2, dice.between(0.75, 1.15));
        }
        buttons(canvas, x, [cut.shoulder[1] + 2.0, end], dice.below(4) + 4, dice);
    }
    if dice.chance(0.3) {
        let (x, y) = (dice.between(2.2, 3.2), dice.between(9.5, 11.5));
        let pocket = [[x, y], [x + 2.6, y], [x + 2.6, y + 3.0], [x, y + 3.0], [x, y]];
        canvas.tint_line(&pocket, 0.6, dice.between(0.6, 0.85));
    }
}

/// Two pointed pieces of cloth below the neck.
fn collar(canvas: &mut Canvas, cut: &Cut, fabric: &Fabric, dice: &mut Dice) {
    let top = cut.shoulder[1] - (cut.shoulder[0] - cut.neck) * 0.3 - 0.2;
    let (reach, drop) = (dice.between(0.6, 1.8), dice.between(2.0, 4.0));
    let piece = [
        [cut.neck * 0.9, top - 0.4],
        [cut.neck + reach, top + drop * 0.6],
        [cut.neck * 0.55, top + drop + 0.6],
        [0.1, top + drop * 0.7],
    ];
    canvas.fill_both(&piece, &fabric.scaled(dice.between(0.8, 1.25)));
    let factor = dice.between(0.45, 0.8);
    canvas.tint_line(&piece[1..], 0.6, factor);
    canvas.tint_line(&super::canvas::mirrored(&piece[1..]), 0.6, factor);
}

/// Collar pieces that run down to the opening.
fn lapels(canvas: &mut Canvas, cut: &Cut, depth: f64, fabric: &Fabric, dice: &mut Dice) {
    let top = cut.shoulder[1] - (cut.shoulder[0] - cut.neck) * 0.3;
    let v = [[cut.neck * 0.8, top - 0.4], [0.0, top + depth], [-cut.neck * 0.8, top - 0.4]];
    canvas.fill(&v, &fabric.scaled(dice.between(0.25, 0.6)));
    let piece = [[cut.neck * 0.8, top - 0.4], [cut.neck + 1.3, top + depth * 0.45], [0.0, top + depth]];
    canvas.fill_both(&piece, &fabric.scaled(dice.between(0.75, 1.2)));
    let factor = dice.between(0.5, 0.8);
    canvas.tint_line(&piece[1..], 0.6, factor);
    canvas.tint_line(&super::canvas::mirrored(&piece[1..]), 0.6, factor);
}

/// A dark or bright line down the front.
fn opening(canvas: &mut Canvas, cut: &Cut, length: f64, dice: &mut Dice) {
    let x = dice.between(-0.8, 0.8);
    let end = (cut.shoulder[1] + length).min(cut.hem[1] + cut.sag + 0.4);
    let line = [[x, cut.shoulder[1]], [x + dice.bell() * 0.4, end]];
    let factor = if dice.chance(0.8) { dice.between(0.2, 0.8) } else { dice.between(1.2, 1.7) };
    canvas.tint_line(&line, dice.between(0.7, 1.5), factor);
}

/// Small dots, evenly spaced.
fn buttons(canvas: &mut Canvas, x: f64, [from, to]: [f64; 2], count: usize, dice: &mut Dice) {
    let factor = if dice.chance(0.7) { dice.between(0.3, 0.7) } else { dice.between(1.2, 1.6) };
    for index in 0..count {
        let y = from + (to - from) * (index as f64 + 0.5) / count as f64;
        canvas.tint(&super::canvas::ellipse([x, y], 1.2, 1.2), factor);
    }
}
