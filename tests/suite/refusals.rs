//! Runs and sessions that every engine refuses, in the same words; and files.

use std::fs;
use std::path::Path;

use ndarray::{Array2, Array3};
use wgru::{
    Directions, ErrorKind, Gru, Inputs, KernelFamily, LoadOptions, OutputFile, PlanOptions,
    Precision, SequenceShape, Session, Tensor, TensorSet, array_file,
};

use crate::compare::same_output;
use crate::engines::{Engine, On};
use crate::laws::run;
use crate::misuse::{network, refused, zero_options};
use crate::{EngineTest, PlainTest};

pub(crate) const TESTS: &[EngineTest] = &[
    ("shapes_of_a_run", On::All, shapes_of_a_run),
    ("reset_mask_of_a_network_that_reads_backwards", On::All, backwards_mask),
    ("options_of_a_session", On::All, options_of_a_session),
    ("weights_beyond_f16", On::Gpu, weights_beyond_f16),
];

pub(crate) const FILE_TESTS: &[PlainTest] =
    &[("weight_files", weight_files), ("array_files", array_files), ("output_files", output_files)];

/// Refused by every way to run, and by the check before it; the session is as it was.
fn refuse_run(
    session: &mut Session,
    what: &str,
    inputs: &Inputs<'_, f32>,
    kind: ErrorKind,
    words: &[&str],
) {
    refused(what, session.run_with(inputs), kind, words);
    refused(what, pollster::block_on(session.run_async(inputs)), kind, words);
    refused(what, session.run_layers(inputs), kind, words);
    refused(what, session.verify(inputs), kind, words);
}

/// Anew for each use: the views of one run share a lifetime.
fn of(x: &Array3<f32>) -> Inputs<'_, f32> {
    Inputs::new(x.view())
}

fn shapes_of_a_run(engine: &Engine) {
    let gru = network(Directions::Forward);
    let mut session = engine.session_of(&gru, SequenceShape::new(4, 3));
    let x = Array3::from_elem((4, 3, 3), 0.5f32);
    let want = run(&mut session, &of(&x));
    let kind = ErrorKind::InvalidShape;

    let wide = Array3::zeros((4, 3, 5));
    let words = ["input", "3 features", "[4, 3, 5]"];
    refuse_run(&mut session, "features", &Inputs::new(wide.view()), kind, &words);
    for state in [(1, 3, 5), (1, 4, 4), (2, 3, 4), (0, 3, 4)] {
        let state = Array3::zeros(state);
        let words = ["initial state", "[1, 3, 4]", &format!("{:?}", state.shape())];
        refuse_run(&mut session, "state", &of(&x).initial_state(state.view()), kind, &words);
    }
    let words = ["lengths", "3 were wanted", "2 were given"];
    refuse_run(&mut session, "lengths", &of(&x).lengths(&[4, 4]), kind, &words);
    let words = ["row 1", "0 to 4", "5 was given"];
    refuse_run(&mut session, "a length", &of(&x).lengths(&[4, 5, 0]), kind, &words);
    let words = ["row 2", "0 to 4", "was given"];
    refuse_run(&mut session, "a length", &of(&x).lengths(&[4, 4, usize::MAX]), kind, &words);
    for dim in [(3, 4), (4, 4), (0, 0)] {
        let mask = Array2::from_elem(dim, false);
        let words = ["reset mask", "T 4 and B 3", &format!("[{}, {}]", dim.0, dim.1)];
        refuse_run(&mut session, "mask", &of(&x).reset_mask(mask.view()), kind, &words);
    }
    for (steps, batch) in [(5, 3), (4, 4), (70_000, 70)] {
        let large = Array3::zeros((steps, batch, 3));
        let words = ["T 4 x B 3", &format!("T {steps} x B {batch}")];
        refuse_run(&mut session, "a large run", &Inputs::new(large.view()), kind, &words);
    }
    // Read batch-first, the same array has other axes.
    let words = ["T 4 x B 3", "T 3 x B 4"];
    refuse_run(&mut session, "batch-first", &of(&x).batch_first(), kind, &words);
    // One value, shown to be more than memory can address.
    let one = [0.5f32];
    let strides = ndarray::ShapeBuilder::strides((1 << 30, 1 << 30, 3), (0, 0, 0));
    if let Ok(endless) = ndarray::ArrayView3::from_shape(strides, &one) {
        let words = ["[1073741824, 1073741824, 4]", "memory can address"];
        refuse_run(&mut session, "an endless view", &Inputs::new(endless), kind, &words);
    }
    same_output("after refusals", &run(&mut session, &of(&x)), &want);
}

fn backwards_mask(engine: &Engine) {
    for directions in [Directions::Reverse, Directions::Bidirectional] {
        let gru = network(directions);
        let mut session = engine.session_of(&gru, SequenceShape::new(4, 3));
        let x = Array3::zeros((4, 3, 3));
        let mask = Array2::from_elem((4, 3), false);
        let inputs = Inputs::new(x.view()).reset_mask(mask.view());
        let words = ["reset mask", "forward", &directions.to_string()];
        refuse_run(&mut session, "a mask", &inputs, ErrorKind::InvalidRequest, &words);
    }
}

fn options_of_a_session(engine: &Engine) {
    let gru = network(Directions::Bidirectional);
    let shape = SequenceShape::new(4, 3);
    let session = |shape, options: &PlanOptions| gru.session_with(&engine.device(), shape, options);
    for (name, options) in zero_options() {
        let words = [name, "at least 1", "0 was given"];
        refused(name, session(shape, &options), ErrorKind::InvalidRequest, &words);
    }
    let f16 = PlanOptions { precision: Precision::F16, ..PlanOptions::default() };
    if !engine.is_gpu() {
        let words = ["f16", "GPU", &engine.device().to_string()];
        refused("f16", session(shape, &f16), ErrorKind::InvalidRequest, &words);
        let default = PlanOptions::default;
        for (name, options) in [
            ("memory_budget", PlanOptions { memory_budget: Some(1 << 30), ..default() }),
            ("family", PlanOptions { family: Some(KernelFamily::Step), ..default() }),
            ("wavefront", PlanOptions { wavefront: Some(false), ..default() }),
        ] {
            let words = [name, "GPU", &engine.device().to_string()];
            refused(name, session(shape, &options), ErrorKind::InvalidRequest, &words);
        }
        let cut = PlanOptions { max_chunk_steps: Some(2), max_tile_rows: Some(1), ..default() };
        assert!(session(shape, &cut).is_ok(), "what changes no result is no error");
        return;
    }
    assert!(session(shape, &f16).is_ok());
    for budget in [1, 1000] {
        let options = PlanOptions { memory_budget: Some(budget), ..PlanOptions::default() };
        let words = [&format!("budget is {budget}")[..], "bytes"];
        refused("a budget", session(shape, &options), ErrorKind::ExceedsLimits, &words);
    }
    for [steps, batch] in [[usize::MAX, 1], [1, usize::MAX], [1 << 50, 1 << 50]] {
        let shape = SequenceShape::new(steps, batch);
        let Err(error) = session(shape, &PlanOptions::default()) else {
            panic!("a session for {shape} was made")
        };
        let kinds = [ErrorKind::InvalidShape, ErrorKind::ExceedsLimits];
        assert!(kinds.contains(&error.kind()), "{shape}: {error:?}");
    }
}

fn weights_beyond_f16(engine: &Engine) {
    let mut set = TensorSet::new();
    let mut values = [0.5; 12 * 4];
    values[4 * 4 + 2] = 70_000.0;
    set.insert(Tensor::from_f32("weight_hh_l0", &[12, 4], &values).unwrap());
    set.insert(Tensor::from_f32("weight_ih_l0", &[12, 3], &[0.5; 36]).unwrap());
    let gru = Gru::from_tensors(&set, &LoadOptions::new()).unwrap();
    let options = PlanOptions { precision: Precision::F16, ..PlanOptions::default() };
    let session = gru.session_with(&engine.device(), SequenceShape::new(2, 2), &options);
    let words = ["weight_hh_l0", "70000", "65504", "f16"];
    refused("a weight", session, ErrorKind::InvalidWeights, &words);
    assert!(gru.session(&engine.device(), SequenceShape::new(2, 2)).is_ok(), "f32 holds it");
}

/// The bytes of a safetensors file with this header and this many bytes of data.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn weight_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let name = path.display().to_string();
    let wrong = |what: &str, bytes: &[u8], kind, words: &[&str]| {
        fs::write(&path, bytes).unwrap();
        let words: Vec<&str> = words.iter().copied().chain([name.as_str()]).collect();
        refused(what, Gru::open(&path), kind, &words);
        refused(what, Gru::list(&path), kind, &words);
    };
    use ErrorKind::{InvalidFile, Io, Unsupported};
    refused("missing", Gru::open(&path), Io, &[&name, "cannot open"]);
    refused("a folder", Gru::open(folder.path()), Io, &["directory"]);
    let tensor = |shape: &str, start: u64, end: u64| {
        format!(r#""w":{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}"#)
    };
    let file = |tensors: &str, data| safetensors(&format!("{{{tensors}}}"), data);
    wrong("empty", b"", InvalidFile, &["empty"]);
    wrong("a stump", b"12345", InvalidFile, &["8 bytes", "5"]);
    wrong(
        "an endless header",
        &u64::MAX.to_le_bytes(),
        InvalidFile,
        &["18446744073709551615", "0"],
    );
    let mut long = safetensors("{}", 0);
    long[0] = 3;
    wrong("a long header", &long, InvalidFile, &["3 bytes", "2 follow"]);
    wrong("no JSON", &safetensors("[1, 2", 0), InvalidFile, &["header"]);
    wrong("no text", &[4, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0xfd, 0xfc], InvalidFile, &["UTF-8"]);
    wrong("truncated", &file(&tensor("[2]", 0, 8), 7), InvalidFile, &["8 bytes", "7 follow"]);
    wrong("too long", &file(&tensor("[2]", 0, 8), 9), InvalidFile, &["8 bytes", "9 follow"]);
    wrong(
        "offsets past the end",
        &file(&tensor("[2]", 1 << 60, (1 << 60) + 8), 8),
        InvalidFile,
        &[],
    );
    wrong("a lying shape", &file(&tensor("[3]", 0, 8), 8), InvalidFile, &[]);
    let huge = "[9223372036854775807,9223372036854775807]";
    wrong("an endless shape", &file(&tensor(huge, 0, 8), 8), InvalidFile, &[]);
    let overlapping = tensor("[2]", 0, 8) + "," + &tensor("[2]", 4, 12).replace('w', "v");
    wrong("overlapping", &file(&overlapping, 12), InvalidFile, &[]);
    let twice = tensor("[2]", 0, 8) + "," + &tensor("[2]", 8, 16);
    wrong("one name twice", &file(&twice, 16), InvalidFile, &["'w'", "twice"]);
    wrong("HDF5", b"\x89HDF\r\n\x1a\n", InvalidFile, &[]);

    fs::write(&path, file(&tensor("[2]", 0, 8), 8)).unwrap();
    refused("no GRU", Gru::open(&path), ErrorKind::InvalidWeights, &[&name, "no GRU"]);
    let pickle = folder.path().join("weights.pt");
    fs::write(&pickle, b"\x80\x04K\x01.").unwrap();
    refused("a pickle", Gru::open(&pickle), Unsupported, &["pickle", "safetensors"]);
}

fn array_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    let npy = |descr: &str, shape: &str, data: &[u8]| {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        fs::write(&path, bytes).unwrap();
    };
    let read = || array_file::read::<f32>(&path);
    use ErrorKind::{InvalidFile, InvalidShape, Io};
    refused("missing", read(), Io, &["x.npy"]);
    refused("a folder", array_file::read::<f32>(folder.path()), Io, &["directory"]);
    fs::write(&path, b"text, not an array").unwrap();
    refused("text", read(), InvalidFile, &["x.npy", "magic"]);
    npy("<f4", "(3,)", &[0; 8]);
    refused("short", read(), InvalidFile, &["12 bytes", "8 follow"]);
    npy("<f4", "(4611686018427387904, 8)", &[0; 8]);
    refused("endless", read(), InvalidFile, &["x.npy"]);
    npy("<i4", "(2,)", &[0; 8]);
    refused("integers", read(), InvalidShape, &["f32, f64 or f16", "<i4"]);
    npy("<f8", "(1,)", &1e300f64.to_le_bytes());
    refused("beyond f32", read(), InvalidShape, &["1e300", "f32", "[0]"]);
    npy("<i8", "(2,)", &[[3i64.to_le_bytes()], [(-1i64).to_le_bytes()]].concat().concat());
    refused("a length", array_file::read_lengths(&path), InvalidShape, &["-1", "[1]"]);
    npy("<f4", "(2,)", &[0; 8]);
    refused("lengths", array_file::read_lengths(&path), InvalidShape, &["integers", "<f4"]);
    npy("<i4", "(1, 2)", &[1, 0, 0, 0, 2, 0, 0, 0]);
    refused("a mask", array_file::read_mask(&path), InvalidShape, &["2", "0 or 1", "[0, 1]"]);
    refused("lengths", array_file::read_lengths(&path), InvalidShape, &["[B]", "[1, 2]"]);
}

fn output_files() {
    let folder = tempfile::tempdir().unwrap();
    let create = |path: &Path| OutputFile::create(path);
    let name = folder.path().display().to_string();
    refused("a folder", create(folder.path()), ErrorKind::Io, &[&name, "cannot write"]);
    let nowhere = folder.path().join("nowhere").join("y.npy");
    refused("in no folder", create(&nowhere), ErrorKind::Io, &["nowhere", "cannot write"]);
    let kept = folder.path().join("kept.npy");
    fs::write(&kept, b"before").unwrap();
    let mut permissions = fs::metadata(&kept).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&kept, permissions).unwrap();
    refused("read-only", create(&kept), ErrorKind::Io, &["kept.npy", "read-only"]);
    assert_eq!(fs::read(&kept).unwrap(), b"before");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
}
