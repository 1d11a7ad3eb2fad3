fn main() {
    bn_core::build::model("weights.bin");
}
