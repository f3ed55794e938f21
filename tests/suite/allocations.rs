pub(crate) const TESTS: &[crate::EngineTest] = &[];
