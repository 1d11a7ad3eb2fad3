//! Trousers, dresses and bags. Draws on a canvas, nothing else.

use super::canvas::{Canvas, curve, ellipse, mirrored, symmetric};
use super::dice::Dice;
use super::fabric::Fabric;
use super::fabric::Point;
use super::tops::{Cut, body_and_sleeves, brightness, neckline};

/// Two legs from a waistband, seen from the front, or lying one over the other.
pub(super) fn trouser(canvas: &mut Canvas, dice: &mut Dice) {
    let fabric = Fabric::cloth(brightness(dice), dice).with_pattern(0.12, dice);
    let (waist, hip) = (dice.between(3.2, 5.2), dice.between(4.4, 6.4));
    let (top, crotch, bottom) = (dice.between(0.3, 1.6), dice.between(8.0, 12.0), dice.between(25.5, 27.6));
    let bottom = if dice.chance(0.12) { dice.between(14.0, 20.0) } else { bottom };
    let (stance, ankle) = (dice.between(2.2, 5.2), dice.between(1.6, 3.6));
    let gap = dice.between(0.0, 0.9);
    let outer = curve([hip, crotch * 0.6], [hip * 0.95, crotch + 3.0], [stance + ankle / 2.0 + 0.6, bottom]);
    let mut leg = vec![[0.0, top], [waist, top]];
    leg.extend(outer);
    leg.push([(stance - ankle / 2.0).max(gap * 0.5), bottom + dice.between(-0.3, 0.3)]);
    leg.push([gap * 0.6, crotch + 1.0]);
    leg.push([0.0, crotch]);
    canvas.fill(&leg, &fabric);
    canvas.fill(&mirrored(&leg), &fabric.scaled(dice.between(0.85, 1.05)));
    let factor = dice.between(0.45, 0.85);
    canvas.tint_line(&[[0.0, top + 1.5], [0.0, crotch + 1.0]], 0.7, factor);
    if dice.chance(0.6) {
        canvas.tint_line(&[[-waist, top + 1.3], [waist, top + 1.3]], 0.8, dice.between(0.55, 1.15));
    }
    if dice.chance(0.5) {
        let pocket = [[waist * 0.45, top + 1.6], [hip * 0.9, top + 4.0]];
        canvas.tint_line(&pocket, 0.6, factor);
        canvas.tint_line(&mirrored(&pocket), 0.6, factor);
    }
    if dice.chance(0.3) {
        let bright = dice.between(1.1, 1.4);
        let crease = [[hip * 0.55, crotch], [stance, bottom - 1.0]];
        canvas.tint_line(&crease, 1.6, bright);
        canvas.tint_line(&mirrored(&crease), 1.6, bright);
    }
}

/// Narrower and longer than a top, with or without sleeves, flared or not.
pub(super) fn dress(canvas: &mut Canvas, dice: &mut Dice) {
    let fabric = Fabric::cloth(brightness(dice), dice).with_pattern(0.35, dice);
    let width = dice.between(3.4, 6.0);
    let upper = dice.between(0.3, 1.8);
    let waist = dice.between(10.0, 14.5);
    let long_sleeves = dice.chance(0.22);
    let sleeve = match dice.below(3) {
        _ if long_sleeves => dice.between(10.0, 17.0),
        0 => dice.between(3.0, 7.0),
        _ => 0.0,
    };
    let cut = Cut {
        neck: dice.between(1.8, 3.2).min(width - 0.6),
        neck_depth: dice.between(0.6, 4.2),
        shoulder: [width + if sleeve > 0.0 { 0.3 } else { -0.5 }, upper + dice.between(0.4, 1.6)],
        armpit: [width, upper + dice.between(4.5, 7.0)],
        waist: [width * dice.between(0.65, 1.0), waist],
        hem: [width + dice.between(-0.6, 3.6), dice.between(25.5, 27.8)],
        sag: dice.between(-0.3, 0.8),
        sleeve,
        spread: dice.between(0.15, 0.6),
        cuff: dice.between(1.2, 2.2),
    };
    body_and_sleeves(canvas, &cut, &fabric, dice);
    neckline(canvas, &cut, dice.chance(0.35), &fabric, dice);
    if dice.chance(0.45) {
        let band = [[-cut.waist[0] - 0.8, waist], [cut.waist[0] + 0.8, waist]];
        canvas.tint_line(&band, dice.between(0.8, 1.8), dice.between(0.4, 0.85));
    }
    for _ in 0..dice.below(4) {
        let x = dice.between(-0.6, 0.6);
        let factor = dice.between(0.65, 0.92);
        canvas.tint_line(&[[x * cut.waist[0], waist + 1.0], [x * 1.6 * cut.hem[0], 27.0]], 0.9, factor);
    }
    if dice.chance(0.12) {
        canvas.tint_line(&[[0.0, cut.shoulder[1] + cut.neck_depth], [0.0, waist]], 0.8, dice.between(0.4, 0.8));
    }
}

/// A body with a handle, a strap or neither.
pub(super) fn bag(canvas: &mut Canvas, dice: &mut Dice) {
    let fabric = Fabric::cloth(brightness(dice), dice).with_pattern(0.2, dice);
    let shape = dice.below(4);
    let (upper, lower) = (dice.between(8.0, 12.5), dice.between(9.0, 13.2));
    let top = if shape == 3 { dice.between(1.0, 4.0) } else { dice.between(6.5, 13.0) };
    let bottom = dice.between(22.0, 27.0);
    let round = dice.between(0.5, 4.0);
    handle(canvas, [upper, top], &fabric, dice);
    let mut right: Vec<Point> = curve([upper - round, top], [upper, top], [upper + (lower - upper) * 0.2, top + round]);
    right.extend(curve([lower, bottom - round], [lower, bottom], [lower - round, bottom]));
    canvas.fill(&symmetric(&right), &fabric);
    let dark = dice.between(0.45, 0.85);
    if dice.chance(0.45) {
        // A flap.
        let depth = top + (bottom - top) * dice.between(0.3, 0.75);
        let flap = if dice.chance(0.5) {
            symmetric(&curve([upper - 0.3, top + 0.4], [upper, depth + 1.0], [0.0, depth]))
        } else {
            symmetric(&[[upper - 0.3, top + 0.4], [upper - 1.0, depth - 1.5], [0.0, depth]])
        };
        canvas.tint(&flap, dice.between(0.8, 1.2));
        canvas.tint_line(&flap, 0.7, dark);
    } else if dice.chance(0.6) {
        let y = top + dice.between(1.2, 5.0);
        canvas.tint_line(&[[-upper, y], [upper, y]], dice.between(0.6, 1.2), dark);
    }
    if dice.chance(0.5) {
        let at = [dice.between(-0.8, 0.8), top + (bottom - top) * dice.between(0.25, 0.6)];
        let size = dice.between(1.2, 3.0);
        canvas.tint(&ellipse(at, size, size * dice.between(0.6, 1.2)), if dice.chance(0.5) { 1.6 } else { 0.45 });
    }
    if dice.chance(0.3) {
        let x = dice.between(0.45, 0.75) * lower;
        let seam = [[x, top + 0.5], [x, bottom - 0.5]];
        canvas.tint_line(&seam, 0.8, dark);
        canvas.tint_line(&mirrored(&seam), 0.8, dark);
    }
    let factor = dice.between(0.55, 0.9);
    canvas.tint_line(&[[-lower + round, bottom - 0.6], [lower - round, bottom - 0.6]], 1.0, factor);
}

fn handle(canvas: &mut Canvas, [upper, top]: Point, fabric: &Fabric, dice: &mut Dice) {
    let fabric = fabric.scaled(dice.between(0.55, 1.15));
    let thickness = dice.between(0.8, 1.8);
    let foot = upper * dice.between(0.3, 0.92);
    let height = (top - 0.8) * dice.between(0.5, 1.0);
    match dice.below(6) {
        0 => {}
        1 => {
            // A strap that falls to one side.
            let drop = curve([-upper * 0.9, top + 1.0], [0.0, top - 1.9 * height], [upper * 0.9, top + 1.0]);
            canvas.band(&drop, thickness * 0.7, &fabric);
        }
        2 => {
            let strap =
                [[-foot, top + 0.5], [-foot * 0.75, top - height], [foot * 0.75, top - height], [foot, top + 0.5]];
            canvas.band(&strap, thickness, &fabric);
        }
        _ => {
            let arc = curve([foot, top + 0.5], [foot, top - height], [0.0, top - height]);
            canvas.band(&arc, thickness, &fabric);
            canvas.band(&mirrored(&arc), thickness, &fabric);
        }
    }
}
