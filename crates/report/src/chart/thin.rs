//! Leaves out of a line what no pixel shows: the algorithm of Ramer (1972) and of Douglas and Peucker
//! (1973). Every point left out is within the tolerance of the line that remains.

/// How far, in pixels, a line may be from where it should be.
const TOLERANCE: f64 = 0.3;

/// The points of `line`, in pixels, that have to stay. The first and the last do.
pub(crate) fn thin(line: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut stays = vec![line.len() <= 2; line.len()];
    let mut open = Vec::new();
    if line.len() > 2 {
        stays[0] = true;
        stays[line.len() - 1] = true;
        open.push((0, line.len() - 1));
    }
    while let Some((first, last)) = open.pop() {
        let off = |index: usize| distance(line[index], line[first], line[last]);
        let farthest = (first + 1..last).max_by(|&a, &b| off(a).total_cmp(&off(b)));
        if let Some(farthest) = farthest.filter(|&it| off(it) > TOLERANCE) {
            stays[farthest] = true;
            open.extend([(first, farthest), (farthest, last)]);
        }
    }
    line.iter().zip(stays).filter(|(_, stays)| *stays).map(|(&point, _)| point).collect()
}

/// From `point` to the segment between `from` and `to`.
fn distance(point: (f64, f64), from: (f64, f64), to: (f64, f64)) -> f64 {
    let (along_x, along_y) = (to.0 - from.0, to.1 - from.1);
    let (x, y) = (point.0 - from.0, point.1 - from.1);
    let length = along_x * along_x + along_y * along_y;
    let share =
        if length > 0.0 { ((x * along_x + y * along_y) / length).clamp(0.0, 1.0) } else { 0.0 };
    (x - share * along_x).hypot(y - share * along_y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_line_is_two_points_and_a_corner_stays() {
        let straight: Vec<_> = (0..1000).map(|i| (f64::from(i), 2.0 * f64::from(i))).collect();
        assert_eq!(thin(&straight), [(0.0, 0.0), (999.0, 1998.0)]);
        assert_eq!(thin(&[(0.0, 0.0), (5.0, 0.2), (10.0, 5.0)]).len(), 3);
        assert_eq!(thin(&[(0.0, 0.0), (0.0, 0.0), (0.0, 0.0)]).len(), 2);
        assert_eq!(thin(&[]), []);
        assert_eq!(thin(&[(1.0, 1.0)]), [(1.0, 1.0)]);
    }

    #[test]
    fn nothing_that_is_left_out_is_further_than_the_tolerance() {
        let curve: Vec<_> =
            (0..2000).map(|i| f64::from(i) / 4.0).map(|x| (x, 100.0 * (x / 40.0).sin())).collect();
        let thinned = thin(&curve);
        assert!(thinned.len() < 200, "{}", thinned.len());
        for &point in &curve {
            let nearest = thinned.windows(2).map(|it| distance(point, it[0], it[1]));
            assert!(nearest.fold(f64::INFINITY, f64::min) <= TOLERANCE);
        }
    }
}
