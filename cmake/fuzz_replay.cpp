// Stands in for libFuzzer's main where that is missing: feeds a fuzz target the empty input, every file named on
// the command line or found below a folder named there, and seeded mutations of all these. A crash is the failure.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

constexpr std::size_t kMutations = 5'000;  // under a second for a text parser, also with sanitizers

Input ReadInput(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return Input(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

void AppendInputs(const std::filesystem::path& path, std::vector<Input>& inputs) {
  if (!std::filesystem::is_directory(path)) {
    inputs.push_back(ReadInput(path));
    return;
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) inputs.push_back(ReadInput(entry.path()));
  }
}

std::size_t Below(std::mt19937& random, std::size_t bound) {
  return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random);
}

/// Overwrites, inserts or removes one byte, a few times.
Input Mutate(Input input, std::mt19937& random) {
  for (std::size_t changes = 1 + Below(random, 4); changes > 0; --changes) {
    const auto byte = static_cast<std::uint8_t>(Below(random, 256));
    const auto position = static_cast<std::ptrdiff_t>(Below(random, input.size() + 1));
    const bool at_end = position == static_cast<std::ptrdiff_t>(input.size());
    const std::size_t kind = Below(random, 3);
    if (kind == 0 || at_end) {
      input.insert(input.begin() + position, byte);
    } else if (kind == 1) {
      input.erase(input.begin() + position);
    } else {
      input[static_cast<std::size_t>(position)] = byte;
    }
  }
  return input;
}

/// From a buffer of exactly the input's size, so that a sanitizer sees every read past its end.
void Run(const Input& input) {
  const Input exact(input.begin(), input.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Input> inputs(1);
  for (int i = 1; i < argc; ++i) AppendInputs(argv[i], inputs);
  for (const Input& input : inputs) Run(input);

  std::mt19937 random(1);
  for (std::size_t i = 0; i < kMutations; ++i) Run(Mutate(inputs[Below(random, inputs.size())], random));
  std::printf("replayed %zu inputs and %zu mutations\n", inputs.size(), kMutations);
  return 0;
}
