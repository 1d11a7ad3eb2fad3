//! Sandals, sneakers and ankle boots, the toe to the left. Draws on a canvas, nothing else.

use super::canvas::{Canvas, curve, ellipse};
use super::dice::Dice;
use super::fabric::Fabric;
use super::fabric::Point;
use super::tops::brightness;

/// A closed low shoe: sole, upper, laces, stripes; sometimes with a high collar.
pub(super) fn sneaker(canvas: &mut Canvas, dice: &mut Dice) {
    let ground = dice.between(18.5, 21.5);
    let high = dice.chance(0.18);
    let collar = if high { dice.between(5.0, 8.0) } else { dice.between(9.5, 12.5) };
    let sole = dice.between(1.2, 2.8);
    let fabric = Fabric::cloth(brightness(dice), dice).with_pattern(0.08, dice);
    let outline = upper(collar, ground - sole * 0.7, dice.between(0.0, 3.0), dice);
    canvas.fill(&outline.points, &fabric);
    let mouth = outline.mouth;
    canvas.tint(&ellipse([mouth[0] + 4.0, mouth[1] + 0.6], 8.0, 2.2), dice.between(0.3, 0.8));
    flat_sole(canvas, ground, sole, dice);
    let factor = if dice.chance(0.5) { dice.between(0.35, 0.7) } else { dice.between(1.25, 1.7) };
    match dice.below(4) {
        0 => {
            for stripe in 0..3 {
                let x = f64::from(stripe) * 1.9 + dice.between(-0.2, 0.2);
                canvas.tint_line(&[[x - 2.0, ground - sole], [x + 1.0, mouth[1] + 2.5]], 0.9, factor);
            }
        }
        1 => {
            let swoosh = curve([-5.0, ground - sole - 1.5], [1.0, ground - sole], [9.0, mouth[1] + 2.0]);
            canvas.tint_line(&swoosh, 1.4, factor);
        }
        2 => canvas.tint(&[[8.5, mouth[1]], [14.0, mouth[1]], [14.0, ground - sole], [7.0, ground - sole]], factor),
        _ => {}
    }
    laces(canvas, mouth, outline.vamp, 3 + dice.below(3), dice);
    if dice.chance(0.5) {
        let toe = curve([-13.0, ground - sole - 1.0], [-9.0, ground - 6.5], [-8.0, ground - sole]);
        canvas.tint(&toe, dice.between(0.6, 1.35));
    }
}

/// A shoe with a shaft above the ankle, on a flat sole or a heel.
pub(super) fn ankle_boot(canvas: &mut Canvas, dice: &mut Dice) {
    let ground = dice.between(23.5, 26.5);
    let low = dice.chance(0.25);
    let top = if low { dice.between(7.5, 11.0) } else { dice.between(1.5, 6.5) };
    let fabric = Fabric::cloth(brightness(dice), dice).with_pattern(0.05, dice);
    let heel = if dice.chance(0.45) { dice.between(2.0, 5.0) } else { 0.0 };
    let sole = dice.between(0.8, 2.0);
    let base = ground - sole;
    let (front, back) = (dice.between(-1.5, 3.0), dice.between(11.0, 13.2));
    let instep = [front - dice.between(0.5, 2.5), dice.between(12.5, 16.0)];
    let toe = dice.between(3.0, 5.5);
    let mut outline = curve([back, top], [back - dice.between(0.5, 2.0), (top + base) / 2.0], [back, base - heel]);
    outline.extend(curve([back - 4.0, base - heel], [4.0 - heel, base - heel * 0.6], [-4.0, base]));
    outline.extend(curve([-11.0, base], [-14.0, base - 0.4], [-13.0, base - toe * 0.5]));
    outline.extend(curve([-12.0, base - toe], [instep[0] - 4.0, base - toe - 1.0], instep));
    outline.push([front, top + dice.between(-0.8, 1.2)]);
    canvas.fill(&outline, &fabric);
    if heel > 0.0 {
        let block = dice.between(1.5, 4.5);
        let piece = [
            [back, base - heel - 0.2],
            [back - 0.4, ground],
            [back - block, ground],
            [back - block - 0.8, base - heel - 0.2],
        ];
        canvas.fill(&piece, &fabric.scaled(dice.between(0.35, 0.9)));
        canvas.band(&[[4.0, base], [-12.5, ground - sole / 2.0]], sole, &fabric.scaled(0.6));
    } else {
        flat_sole(canvas, ground, sole, dice);
    }
    boot_details(canvas, [front, top], instep, back, dice);
}

/// Elastic, zip, laces, a strap, a darker top edge.
fn boot_details(canvas: &mut Canvas, [front, top]: Point, instep: Point, back: f64, dice: &mut Dice) {
    canvas.tint_line(&[[front, top + 0.8], [back, top + 0.5]], dice.between(0.8, 2.0), dice.between(0.45, 0.9));
    match dice.below(5) {
        0 => {
            let x = (front + back) / 2.0;
            let gusset = [[x - 2.0, top + 0.8], [x + 2.0, top + 0.8], [x, top + 9.0]];
            canvas.tint(&gusset, dice.between(0.45, 0.75));
        }
        1 | 2 => laces(canvas, [front + 0.5, top + 1.5], [instep[0] - 2.0, instep[1] + 2.0], 5, dice),
        3 => {
            let y = instep[1] + dice.between(-1.0, 2.0);
            canvas.tint_line(&[[instep[0] - 1.0, y - 1.0], [back, y]], 1.4, dice.between(0.4, 0.8));
        }
        _ => {
            let x = dice.between(5.0, 8.0);
            canvas.tint_line(&[[x, top + 1.0], [x - 0.5, 19.0]], 0.7, dice.between(0.4, 0.75));
        }
    }
}

/// Straps on a flat sole, a wedge or a heel, the background between them.
pub(super) fn sandal(canvas: &mut Canvas, dice: &mut Dice) {
    let fabric = Fabric::cloth(if dice.chance(0.45) { dice.between(40.0, 120.0) } else { brightness(dice) }, dice);
    let kind = dice.below(5);
    let heel = match kind {
        0 | 1 => dice.between(0.0, 1.2),
        2 => dice.between(3.0, 7.0),
        _ => dice.between(5.0, 13.0),
    };
    let ground = dice.between(18.5, 22.0) + heel * 0.3;
    let thickness = dice.between(1.0, 2.4);
    let toe = [-13.0 + dice.between(0.0, 1.5), ground - thickness / 2.0];
    let back = [dice.between(10.5, 13.0), ground - thickness / 2.0 - heel];
    let ball = [-4.0, ground - thickness / 2.0];
    let mut footbed = vec![toe, ball];
    footbed.extend(curve(ball, [2.0, ground - 0.5 - heel * 0.3], back));
    canvas.band(&footbed, thickness, &fabric);
    if kind == 2 {
        let mut wedge = curve(ball, [2.0, ground - 0.5 - heel * 0.3], back);
        wedge.extend([[back[0], ground], [ball[0] - 2.0, ground]]);
        canvas.fill(&wedge, &fabric.scaled(dice.between(0.6, 1.2)));
    } else if kind > 2 {
        let foot = [back[0] - dice.between(-0.5, 1.5), ground];
        canvas.band(&[[back[0] - 0.6, back[1]], foot], dice.between(0.8, 2.2), &fabric.scaled(0.85));
    }
    straps(canvas, [toe, ball, back], &fabric, dice);
}

fn straps(canvas: &mut Canvas, [toe, ball, back]: [Point; 3], fabric: &Fabric, dice: &mut Dice) {
    let width = dice.between(0.9, 2.2);
    let rise = dice.between(3.0, 6.5);
    for _ in 0..=dice.below(3) {
        // Over the toes.
        let x = dice.between(toe[0] + 2.5, ball[0] + 3.0);
        let strap = curve([x - 2.5, ball[1]], [x, ball[1] - rise * 1.5], [x + 4.0, ball[1] - dice.between(0.0, 2.0)]);
        canvas.band(&strap, width, &fabric.scaled(dice.between(0.8, 1.3)));
    }
    if dice.chance(0.75) {
        // Around the ankle.
        let up = dice.between(4.0, 8.5);
        let middle = [dice.between(1.0, 5.0), back[1] - up];
        canvas.band(&curve([back[0] - 0.3, back[1]], [back[0] + 0.5, back[1] - up], middle), width, fabric);
        if dice.chance(0.7) {
            canvas.band(&curve(middle, [middle[0] - 3.0, middle[1] + 1.0], [ball[0], ball[1] - 1.0]), width, fabric);
        }
    } else {
        let start = [dice.between(-1.0, 6.0), (ball[1] + back[1]) / 2.0];
        canvas.band(&curve(start, [0.0, start[1] - 5.0], [toe[0] + 4.0, toe[1]]), width, fabric);
    }
    if dice.chance(0.35) {
        // A closed front, as on a clog.
        let front = curve(toe, [toe[0] + 1.0, toe[1] - rise - 1.5], [ball[0] + 3.0, ball[1] - rise]);
        let front: Vec<Point> = front.into_iter().chain([[ball[0] + 4.5, ball[1]]]).collect();
        canvas.fill(&front, &fabric.scaled(dice.between(0.7, 1.2)));
    }
}

/// The outline of a closed low shoe.
struct Upper {
    points: Vec<Point>,
    /// Front end of the opening.
    mouth: Point,
    /// Where the laces end.
    vamp: Point,
}

fn upper(collar: f64, base: f64, dip: f64, dice: &mut Dice) -> Upper {
    let mouth = [dice.between(-0.5, 3.5), collar + dice.between(-0.8, 1.6)];
    let toe = dice.between(2.6, 4.4);
    let vamp = [dice.between(-7.5, -4.0), base - toe + dice.between(-0.8, 0.4)];
    let mut points = curve([12.8, collar], [11.8, (collar + base) / 2.0], [13.3, base]);
    points.extend(curve([-12.0, base], [-14.0, base - 0.3], [-13.2, base - toe * 0.4]));
    points.extend(curve([-12.4, base - toe * 0.8], [-10.0, base - toe], vamp));
    points.extend(curve(vamp, [-3.0, (vamp[1] + mouth[1]) / 2.0], mouth));
    points.extend(curve(mouth, [7.5, collar + dip + 0.5], [12.0, collar - 0.2]));
    Upper { points, mouth, vamp }
}

fn flat_sole(canvas: &mut Canvas, ground: f64, thickness: f64, dice: &mut Dice) {
    let bright = dice.chance(0.6);
    let sole = Fabric::cloth(if bright { dice.between(170.0, 250.0) } else { dice.between(25.0, 120.0) }, dice);
    let toe = dice.between(0.0, 1.0);
    let outline = [
        [-13.2, ground - thickness],
        [13.4, ground - thickness],
        [13.2, ground],
        [-11.0, ground],
        [-13.4, ground - toe],
    ];
    canvas.fill(&outline, &sole);
}

fn laces(canvas: &mut Canvas, from: Point, to: Point, count: usize, dice: &mut Dice) {
    let factor = if dice.chance(0.6) { dice.between(1.2, 1.6) } else { dice.between(0.4, 0.75) };
    for index in 0..count {
        let t = (index as f64 + 0.5) / count as f64;
        let at = [from[0] + (to[0] - from[0]) * t, from[1] + (to[1] - from[1]) * t];
        canvas.tint_line(&[[at[0] - 0.3, at[1] - 0.2], [at[0] + 2.2, at[1] + 1.6]], 0.7, factor);
    }
}
