//! ONNX files: results, layers of one network, the exporter's fault, refusals.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use wgru::ErrorKind::{self, InvalidFile, InvalidRequest, InvalidWeights, Io, Unsupported};
use wgru::{
    Activation, Convention, Directions, ElementType, Evidence, Format, Gru, LoadOptions, ResetForm,
};

use crate::golden::{cases, copy_to};
use crate::{assert_error, test_file};

fn file(name: &str) -> std::path::PathBuf {
    test_file(&format!("data/onnx/{name}.onnx"))
}

#[test]
fn every_file_gives_its_results() {
    let cases = cases("onnx");
    assert!(cases.len() >= 50, "{} cases", cases.len());
    for case in cases {
        let gru = Gru::open_with(&case.file, &case.options())
            .unwrap_or_else(|e| panic!("{}: {e}", case.name()));
        case.check(&gru);
        let description = gru.description();
        assert_eq!(description.format, Format::Onnx);
        assert_eq!(description.convention, Convention::Onnx);
        assert_eq!(Gru::list(&case.file).unwrap().len(), 1, "{}", case.name());
    }
}

#[test]
fn tensors_are_views_of_the_file() {
    let bytes = fs::read(file("forward")).unwrap();
    let gru = Gru::from_bytes(bytes.clone(), &LoadOptions::new()).unwrap();
    let tensor = gru.weights().cell(0, 0).input[0].tensor().clone();
    // The type prints its name, shape and element type only.
    assert_eq!(format!("{tensor:?}"), "W [1, 6, 3] f32");
    let wanted = [ElementType::F32];
    assert_eq!(gru.description().element_types, wanted);
    assert_eq!(gru.description().parameters, 18 + 12 + 12);
}

#[test]
fn functions_of_each_direction() {
    let gru = Gru::open(file("activations_each_direction")).unwrap();
    let [forward, reverse] = gru.config().functions;
    assert_eq!(forward.gate, Activation::HardSigmoid { alpha: 0.25, beta: 0.375 });
    assert_eq!(forward.candidate, Activation::Tanh);
    assert_eq!(reverse.gate, Activation::Sigmoid);
    assert_eq!(reverse.candidate, Activation::LeakyRelu { alpha: 0.125 });
    assert_eq!(gru.description().activations_evidence, Evidence::Stated);
    assert_eq!(Gru::open(file("clip")).unwrap().config().functions[0].clip, Some(0.3));
}

#[test]
fn element_types_and_producers() {
    let element = |name: &str| Gru::open(file(name)).unwrap().description().element_types.clone();
    assert_eq!(element("double"), [ElementType::F64]);
    assert_eq!(element("float16_typed_fields"), [ElementType::F16]);
    assert_eq!(element("bfloat16"), [ElementType::Bf16]);
    let gru = Gru::open(file("one_layer_dynamo")).unwrap();
    assert!(gru.description().producer.as_ref().unwrap().starts_with("pytorch 2."));
    assert_eq!(gru.description().warnings, [""; 0]);
}

#[test]
fn the_exporters_fault_is_named() {
    let as_written = Gru::open(file("faulty_exporter")).unwrap();
    assert_eq!(as_written.config().reset, ResetForm::Before);
    let [warning] = &as_written.description().warnings[..] else { panic!("one warning") };
    for word in ["pytorch", "linear_before_reset = 0", "pytorch/pytorch#189225", "--reset after"] {
        assert!(warning.contains(word), "'{word}' is missing from: {warning}");
    }
    let asked = LoadOptions::new().reset(ResetForm::After);
    let as_meant = Gru::open_with(file("faulty_exporter"), &asked).unwrap();
    assert_eq!(as_meant.config().reset, ResetForm::After);
    assert_eq!(as_meant.description().reset_evidence, Evidence::Asked);
    assert_eq!(as_meant.description().warnings, [""; 0]);
    // Whoever asks for what the file says knows; other producers mean what they write.
    let before = LoadOptions::new().reset(ResetForm::Before);
    let known = Gru::open_with(file("faulty_exporter"), &before).unwrap();
    assert_eq!(known.description().warnings, [""; 0]);
    assert_eq!(Gru::open(file("forward")).unwrap().description().warnings, [""; 0]);
}

#[test]
fn layers_of_one_network_load_as_one() {
    for (name, layers) in [("two_layers_state", 2), ("three_layers_no_bias_state", 3)] {
        for exporter in ["torchscript", "dynamo"] {
            let path = file(&format!("{name}_{exporter}"));
            let gru = Gru::open(&path).unwrap();
            assert_eq!(gru.config().num_layers, layers);
            let notes = gru.description().notes.join("\n");
            assert!(notes.contains(&format!("{layers} chained nodes")), "{notes}");
            // One node of them alone, by what it puts out.
            let name = gru.description().name.clone().unwrap();
            let whole = Gru::open_with(&path, &LoadOptions::new().node(&name)).unwrap();
            assert_eq!(whole.config().num_layers, layers);
            let second = if exporter == "torchscript" { "/rnn/GRU_1" } else { "" };
            if !second.is_empty() {
                let alone = Gru::open_with(&path, &LoadOptions::new().node(second)).unwrap();
                assert_eq!(alone.config().num_layers, 1);
                assert_eq!(alone.config().input_size, gru.config().output_size());
            }
        }
    }
}

#[test]
fn what_is_not_exactly_one_network_stays_apart() {
    let mut checked = 0;
    for entry in fs::read_dir(test_file("data/onnx")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("apart_") || path.extension().is_none_or(|e| e != "onnx") {
            continue;
        }
        let listed = Gru::list(&path).unwrap();
        assert_eq!(listed.len(), 2, "{name}");
        // Nodes that are not in a row at all need no explanation.
        let in_a_row = ["final_states_swapped", "reset_forms", "states_swapped"];
        if let Some(what) = name.strip_prefix("apart_").filter(|what| in_a_row.contains(what)) {
            let reason = if what == "reset_forms" { "reset forms differ" } else { "in order" };
            for one in listed {
                let notes = one.notes.join("; ");
                assert!(
                    notes.contains("2 GRU nodes in a row") && notes.contains(reason),
                    "{notes}"
                );
            }
        }
        assert_error(Gru::open(&path), InvalidRequest, &["2 GRUs", "--node", "0: ", "1: "]);
        checked += 1;
    }
    assert_eq!(checked, 8);
}

#[test]
fn nodes_are_chosen_by_name_output_or_index() {
    let path = file("two_grus");
    assert_error(Gru::open(&path), InvalidRequest, &["2 GRUs", "0: gru_0", "1: gru_1"]);
    let open = |node: &str| Gru::open_with(&path, &LoadOptions::new().node(node));
    let first = open("gru_0").unwrap();
    for node in ["Y0", "0"] {
        crate::golden::assert_same(&open(node).unwrap(), &first, node);
    }
    assert_eq!(open("1").unwrap().description().name.as_deref(), Some("gru_1"));
    assert_error(open("gru_2"), InvalidRequest, &["'gru_2'", "gru_0", "gru_1"]);
    assert_error(open("2"), InvalidRequest, &["'2'"]);
    let listed = Gru::list(&path).unwrap();
    assert_eq!(
        listed[1].to_string(),
        "gru_1: onnx, 1 forward layer, input 3, hidden 2, reset-before"
    );
    // A node without a name goes by its first output.
    assert_eq!(Gru::open(file("unnamed_node")).unwrap().description().name.as_deref(), Some("Y"));
}

#[test]
fn options_that_contradict_the_file() {
    let open = |name: &str, options: LoadOptions| Gru::open_with(file(name), &options);
    let new = LoadOptions::new;
    let relu = new().activations(Activation::Sigmoid, Activation::Relu);
    assert_error(open("forward", relu.clone()), InvalidRequest, &["Tanh", "Relu"]);
    assert!(open("candidate_relu", relu).is_ok());
    let before = new().reset(ResetForm::Before);
    assert_error(open("after", before), InvalidRequest, &["linear_before_reset = 1", "before"]);
    assert!(open("forward", new().reset(ResetForm::After)).is_ok());
    assert_error(open("forward", new().prefix("p")), InvalidRequest, &["'p'", "node"]);
    let keras = new().convention(Convention::Keras);
    assert_error(open("forward", keras), InvalidRequest, &["keras", "ONNX"]);
    assert!(open("forward", new().convention(Convention::Onnx)).is_ok());
    assert_error(open("forward", new().go_backwards(true)), InvalidRequest, &["Keras"]);
}

#[test]
fn refused_files() {
    let kinds = BTreeMap::from([
        ("Unsupported", Unsupported),
        ("InvalidFile", InvalidFile),
        ("InvalidWeights", InvalidWeights),
        ("InvalidConfig", ErrorKind::InvalidConfig),
        ("InvalidShape", ErrorKind::InvalidShape),
        ("Io", Io),
    ]);
    let folder = test_file("data/onnx/refused");
    let text = fs::read_to_string(folder.join("table.json")).unwrap();
    let table: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(table.len() >= 60, "{} files", table.len());
    for row in table {
        let name = row["file"].as_str().unwrap();
        println!("{name}");
        let mut words: Vec<&str> =
            row["words"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
        words.push(name);
        let path = folder.join(name);
        assert_error(Gru::open(&path), kinds[row["kind"].as_str().unwrap()], &words);
        // A list of what the file holds says the same, or fails in the same way.
        if let Ok(listed) = Gru::list(&path) {
            assert!(listed.iter().all(|l| l.config.is_err()), "{name}");
        }
    }
}

#[test]
fn weights_in_another_file_need_the_models_path() {
    let path = file("external_data_dynamo");
    assert!(Gru::open(&path).is_ok());
    let bytes = fs::read(&path).unwrap();
    let without = Gru::from_bytes(bytes, &LoadOptions::new());
    assert_error(without, Unsupported, &["another file", "path"]);
    // Without the other file, and with one that is too short.
    let folder = tempfile::tempdir().unwrap();
    let alone = copy_to(folder.path(), &path);
    assert_error(Gru::open(&alone), Unsupported, &["external_data_dynamo.onnx.data"]);
    let data = copy_to(folder.path(), &file("external_data_dynamo").with_extension("onnx.data"));
    assert!(Gru::open(&alone).is_ok());
    let bytes = fs::read(&data).unwrap();
    fs::write(&data, &bytes[..bytes.len() - 1]).unwrap();
    // The first layer is whole.
    assert_error(Gru::open(&alone), InvalidRequest, &["1: node", "does not load", "has 351"]);
    let second = LoadOptions::new().node("1");
    assert_error(Gru::open_with(&alone, &second), InvalidFile, &["which has 351"]);
}

#[cfg(unix)]
#[test]
fn links_out_of_the_models_folder_are_not_followed() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let model = copy_to(folder.path(), &file("external_data_dynamo"));
    let data = file("external_data_dynamo").with_extension("onnx.data");
    let link = folder.path().join(data.file_name().unwrap());
    symlink(&data, &link).unwrap();
    assert_error(Gru::open(&model), Unsupported, &["own folder", "links out"]);
    // A link that stays inside is as good as the file.
    fs::remove_file(&link).unwrap();
    fs::copy(&data, folder.path().join("real")).unwrap();
    symlink(folder.path().join("real"), &link).unwrap();
    assert!(Gru::open(&model).is_ok());
}

#[test]
fn what_is_no_onnx_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |bytes: &[u8]| {
        let path = folder.path().join("model.onnx");
        fs::write(&path, bytes).unwrap();
        Gru::open(path)
    };
    assert_error(write(b""), InvalidFile, &["empty"]);
    assert_error(write(b"hello"), InvalidFile, &["not a valid ONNX file"]);
    assert_error(write(&[0x08, 0x08]), InvalidFile, &["no graph"]);
    let whole = fs::read(file("bidirectional")).unwrap();
    for cut in [10, whole.len() / 2, whole.len() - 1] {
        assert_error(write(&whole[..cut]), InvalidFile, &["not a valid ONNX file"]);
    }
    // A string that claims 2^62 bytes: nothing of that size is allocated.
    let huge = [0x08, 8, 0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    assert_error(write(&huge), InvalidFile, &["not a valid ONNX file"]);
    // Graphs in attributes of nodes in graphs, a hundred thousand deep.
    let mut nested: Vec<u8> = Vec::new();
    for _ in 0..100_000 {
        for field in [0x32u8, 0x2a, 0x0a] {
            let mut outer = vec![field];
            prost_varint(nested.len(), &mut outer);
            outer.extend(&nested);
            nested = outer;
            if nested.len() > 20_000 {
                break;
            }
        }
        if nested.len() > 20_000 {
            break;
        }
    }
    let mut model = vec![0x3a];
    prost_varint(nested.len(), &mut model);
    model.extend(nested);
    assert_error(write(&model), InvalidFile, &["not a valid ONNX file"]);
}

fn prost_varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

#[test]
fn directions_of_one_node() {
    assert_eq!(Gru::open(file("reverse")).unwrap().config().directions, Directions::Reverse);
    let notes = |name: &str| Gru::open(file(name)).unwrap().description().notes.join("\n");
    assert!(notes("layout_1").contains("batch-first"));
    assert!(notes("lengths_and_state").contains("lengths are for the caller"));
    assert!(notes("lengths_and_state").contains("initial state is for the caller"));
}
