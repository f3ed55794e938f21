//! The residual check has teeth for the matrix kernels, too: see [`super::mutants`].

use super::adapters;
use super::mutants::{Case, DATA_FAULTS, Given, MARGIN, rejected};
use super::support::{Random, Sequences, Values};
use crate::plan::PlanOptions;
use crate::*;

fn case(
    name: &'static str,
    directions: Directions,
    reset: ResetForm,
    [input, hidden, steps, batch]: [usize; 4],
) -> Case {
    let mut random = Random::new(hidden as u64);
    let config = GruConfig { num_layers: 2, directions, reset, ..GruConfig::new(input, hidden) };
    let shape = SequenceShape::new(steps, batch);
    let mut sequences = Sequences::random(&config, shape, &mut random);
    sequences.lengths = Some((0..batch).map(|row| steps - 2 * row % (steps + 1)).collect());
    let values = Values::random(config, 3.0, &mut random);
    let options = PlanOptions {
        all_layers: true,
        family: Some(KernelFamily::Matrix),
        precision: Precision::F16,
        ..PlanOptions::default()
    };
    Case { name, values, sequences, options, gpu: None }
}

/// Operand rows of several stages and of parts of one; several blocks of units, the last not
/// whole; tiles of rows whole, in part, and one alone.
fn cases() -> Vec<Case> {
    use Directions::{Bidirectional, Forward, Reverse};
    use ResetForm::{After, Before};
    vec![
        case("bidirectional, reset-after", Bidirectional, After, [6, 39, 5, 19]),
        case("bidirectional, reset-before, chunked", Bidirectional, Before, [70, 37, 5, 9])
            .chunked(),
        case("forward, reset-after, masked", Forward, After, [5, 75, 5, 5]).masked(),
        case("forward, reset-before, masked, chunked", Forward, Before, [9, 66, 6, 12])
            .chunked()
            .masked(),
        case("reverse, reset-after", Reverse, After, [3, 33, 4, 33]),
    ]
}

/// A name, the text, and what replaces it.
const TEXT_FAULTS: [(&str, &str, &str); 16] = [
    (
        "last quad of k skipped",
        "first + column < launch.k_quads",
        "first + column + 1u < launch.k_quads",
    ),
    ("last tile of k skipped", "t < end;", "t + 1u < end;"),
    ("stages beyond the first skipped", "first += STAGE_TILES", "first += tiles"),
    (
        "weights of the tile before",
        "(first_tile + (first + t) * COLUMNS)",
        "(first_tile + (first + max(t, 1u) - 1u) * COLUMNS)",
    ),
    ("weights of another block", "block * tiles * COLUMNS + column", "column"),
    ("weights by columns", "coopLoadT<TileB>(&weights[w]", "coopLoad<TileB>(&weights[w]"),
    ("operands by columns", "let a0 = coopLoadT<TileA>", "let a0 = coopLoad<TileA>"),
    (
        "one product lost",
        "c0 = coopMultiplyAdd(a0, b, c0);",
        "c0 = coopMultiplyAdd(a0, b, TileC());",
    ),
    ("sums by columns", "coopStoreT(s0, &sums[at]", "coopStore(s0, &sums[at]"),
    (
        "planes out of order",
        "(unit / SIZE) * PLANES + plane)",
        "(unit / SIZE) * PLANES + plane * (PLANES - 1u) % PLANES)",
    ),
    (
        "a row for the one before",
        "let row = block * ROWS + i;",
        "let row = block * ROWS + max(i, 1u) - 1u;",
    ),
    ("reset ignored (after)", "fma(r, hidden,", "fma(vec4<f32>(1.0), hidden,"),
    ("reset ignored (before)", "unpadded(quad, r * h)", "unpadded(quad, h)"),
    (
        "r*h in the gates' place",
        "own_rows(lane, group.y, cell.scratch);",
        "own_rows(lane, group.y, before);",
    ),
    ("ended rows go on", "= select(held, y, live);", "= y;"),
    ("mask ignored in the sums", "select(sum_of(own, 0u, q), zero, reset)", "sum_of(own, 0u, q)"),
];

const ROUNDING_FAULTS: [(&str, &str, &str); 2] = [
    ("operands rounded towards zero", "vec4<u32>(0xfffu) + odd", "vec4<u32>(0u)"),
    ("ties rounded away", "vec4<u32>(0xfffu) + odd", "vec4<u32>(0x1000u)"),
];

/// Inputs half-way between two values of f16, in sums of so few terms that the bound is below what
/// a rounding moves.
fn ties() -> Case {
    let mut case = case("ties", Directions::Forward, ResetForm::After, [3, 5, 6, 9]);
    // From 1/2 to 1 values of f16 are 2^-11 apart.
    case.sequences.input.mapv_inplace(|v| {
        let odd = (v.abs() * 1000.0).floor() * 2.0 + 1.0;
        (0.5 + odd / 4096.0) * v.signum()
    });
    case
}

#[test]
fn the_matrix_kernels_without_faults_pass() {
    for context in adapters::matrix_contexts() {
        let options = GpuOptions {
            cooperative_matrices: true,
            runtime_checks: true,
            ..GpuOptions::default()
        };
        let checked = GpuContext::open(context.adapter().index, &options).unwrap();
        for context in [context, &checked] {
            for case in cases().into_iter().chain([ties()]) {
                let report = Given::right(&case, context).verify(&case, context);
                println!("{}: {:.3}: {}", case.name, report.worst_ratio(), context.adapter());
                assert!(report.passed() && report.undecided == 0, "{}: {report}", case.name);
            }
        }
    }
}

#[test]
fn faults_in_what_matrix_kernels_are_given_are_rejected() {
    for context in adapters::matrix_contexts() {
        let cases = cases();
        let tried =
            DATA_FAULTS.iter().filter(|(name, fault)| rejected(name, &cases, context, fault) > 0);
        // The others are of wavefronts.
        assert!(tried.count() >= 16);
    }
}

#[test]
fn faults_in_the_texts_of_matrix_kernels_are_rejected() {
    for context in adapters::matrix_contexts() {
        let (cases, ties) = (cases(), [ties()]);
        let texts = TEXT_FAULTS.iter().map(|fault| (&cases[..], fault));
        let roundings = ROUNDING_FAULTS.iter().map(|fault| (&ties[..], fault));
        for (cases, (name, from, to)) in texts.chain(roundings) {
            // Not every size has several stages, blocks or tiles: in one the fault is seen.
            let mut largest = 0.0f64;
            for case in cases {
                let mut given = Given::right(case, context);
                given.texts = Some([from, to]);
                let mut kernels = given.plan.kernels().iter();
                if kernels.any(|k| given.plan.variant(*k).wgsl().contains(from)) {
                    largest = largest.max(given.verify(case, context).worst_ratio());
                }
                if largest >= MARGIN {
                    break;
                }
            }
            println!("{name}: {largest:.1}: {}", context.adapter());
            assert!(largest >= MARGIN, "'{name}' is not rejected: {largest:.3}");
        }
    }
}
