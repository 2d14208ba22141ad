// Kernels over codes: in cache, over codes at random places of a memory that no cache holds, and what makes codes.
//
//   cmake --preset release && cmake --build --preset release && build/release/code_bench
//
// Reported per distance (items), or per code that was made. `hot` keeps both sides in the first-level cache; `random` reads
// codes as a graph search without prefetching does. Queries are compared with one code a call and with kBatch.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "vec/code_kernels.hpp"

namespace {

using tandem::vec::CodeKernels;
using tandem::vec::NibbleBytes;
using tandem::vec::NibbleQuery;

constexpr std::size_t kColdBytes = std::size_t{256} << 20;
constexpr std::size_t kDimensions[] = {100, 128, 256, 384, 768, 784, 1536};
constexpr std::size_t kBatch = 32;  // a node's neighbours, about

enum class Operation { kL2Squared, kL1, kDot, kQueryL2Squared, kQueryL1, kQueryDot, kQueryNibbles };
constexpr Operation kBetweenCodes[] = {Operation::kL2Squared, Operation::kL1, Operation::kDot};
constexpr Operation kWithQueries[] = {Operation::kQueryL2Squared, Operation::kQueryL1, Operation::kQueryDot,
                                      Operation::kQueryNibbles};

/// The values do not influence the speed, except that a norm term must be no denormal.
std::vector<std::uint8_t> MakeCodes(std::size_t count) {
  std::vector<std::uint8_t> codes(count);
  for (std::size_t i = 0; i < count; ++i) codes[i] = static_cast<std::uint8_t>(i * 37);
  return codes;
}

std::size_t BytesOf(Operation operation, std::size_t n) {
  return operation == Operation::kQueryNibbles ? NibbleBytes(n) + sizeof(float) : n;
}

/// A query in both forms.
struct Query {
  explicit Query(std::size_t n) : words(n), weights(2 * NibbleBytes(n)) {
    for (std::size_t i = 0; i < n; ++i) words[i] = static_cast<std::int16_t>(i % 400) - 100;
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<std::int8_t>(i % 255) - 127;
    nibbles = {weights.data(), weights.data() + NibbleBytes(n), NibbleBytes(n), 1e4, 1.0, 0.25};
  }

  std::vector<std::int16_t> words;
  std::vector<std::int8_t> weights;
  NibbleQuery nibbles;
};

std::uint32_t RunBetweenCodes(const CodeKernels& kernels, Operation operation, const std::uint8_t* a,
                              const std::uint8_t* b, std::size_t n) {
  switch (operation) {
    case Operation::kL2Squared:
      return kernels.l2_squared(a, b, n);
    case Operation::kL1:
      return kernels.l1(a, b, n);
    case Operation::kDot:
      return kernels.dot(a, b, n);
    case Operation::kQueryL2Squared:
    case Operation::kQueryL1:
    case Operation::kQueryDot:
    case Operation::kQueryNibbles:
      break;
  }
  return 0;
}

void RunQuery(const CodeKernels& kernels, Operation operation, const Query& query,
              const std::uint8_t* const* codes, std::size_t count, float* keys) {
  const std::size_t n = query.words.size();
  switch (operation) {
    case Operation::kQueryL2Squared:
      return kernels.query_l2_squared(query.words.data(), codes, count, n, keys);
    case Operation::kQueryL1:
      return kernels.query_l1(query.words.data(), codes, count, n, keys);
    case Operation::kQueryDot:
      return kernels.query_dot(query.words.data(), codes, count, n, keys);
    case Operation::kQueryNibbles:
      return kernels.query_nibbles(query.nibbles, codes, count, keys);
    case Operation::kL2Squared:
    case Operation::kL1:
    case Operation::kDot:
      break;
  }
}

/// Addresses of codes at random places, kBatch at a time.
class Places {
 public:
  Places(const std::uint8_t* memory, std::size_t bytes, std::size_t code_bytes)
      : memory_(memory), codes_(bytes / code_bytes), code_bytes_(code_bytes) {}

  const std::uint8_t* Next() {
    place_ = place_ * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U;
    return memory_ + (place_ >> 33) % codes_ * code_bytes_;
  }

 private:
  const std::uint8_t* memory_;
  std::size_t codes_;
  std::size_t code_bytes_;
  std::uint64_t place_ = 1;
};

const std::vector<std::uint8_t>& ColdMemory() {
  static const std::vector<std::uint8_t> memory = MakeCodes(kColdBytes);
  return memory;
}

void BetweenCodes(benchmark::State& state, const CodeKernels& kernels, Operation operation, std::size_t n,
                  bool hot) {
  const std::vector<std::uint8_t> a = MakeCodes(n);
  const std::vector<std::uint8_t> one = MakeCodes(n);
  Places places(hot ? one.data() : ColdMemory().data(), hot ? n : kColdBytes, n);
  while (state.KeepRunning()) {
    benchmark::DoNotOptimize(RunBetweenCodes(kernels, operation, a.data(), places.Next(), n));
  }
}

void WithQuery(benchmark::State& state, const CodeKernels& kernels, Operation operation, std::size_t n,
               bool hot, std::size_t batch) {
  const Query query(n);
  const std::size_t code_bytes = BytesOf(operation, n);
  const std::vector<std::uint8_t> few = MakeCodes(kBatch * code_bytes);
  Places places(hot ? few.data() : ColdMemory().data(), hot ? few.size() : kColdBytes, code_bytes);
  const std::uint8_t* codes[kBatch];
  float keys[kBatch];
  while (state.KeepRunningBatch(kBatch)) {
    for (const std::uint8_t*& code : codes) code = places.Next();
    for (std::size_t i = 0; i < kBatch; i += batch) {
      RunQuery(kernels, operation, query, codes + i, batch, keys + i);
    }
    benchmark::DoNotOptimize(keys);
    benchmark::ClobberMemory();
  }
}

void Encode(benchmark::State& state, const CodeKernels& kernels, std::size_t n) {
  std::vector<float> vector(n);
  for (std::size_t i = 0; i < n; ++i) vector[i] = static_cast<float>(i % 251);
  const std::vector<float> offset(n, 3.0F);
  std::vector<std::uint8_t> code(n);
  while (state.KeepRunning()) {
    kernels.encode(vector.data(), offset.data(), 1.9F, n, code.data());
    benchmark::DoNotOptimize(code.data());
    benchmark::ClobberMemory();
  }
}

void MakeNibbles(benchmark::State& state, const CodeKernels& kernels, std::size_t n) {
  const std::vector<std::uint8_t> code = MakeCodes(n);
  const std::vector<float> centre(n, 127.25F);
  const std::vector<float> step(n, 5.75F);
  std::vector<std::uint8_t> nibbles(NibbleBytes(n) + sizeof(float));
  while (state.KeepRunning()) {
    kernels.make_nibbles(code.data(), centre.data(), step.data(), n, nibbles.data());
    benchmark::DoNotOptimize(nibbles.data());
    benchmark::ClobberMemory();
  }
}

const char* Name(Operation operation) {
  switch (operation) {
    case Operation::kL2Squared:
      return "l2_squared";
    case Operation::kL1:
      return "l1";
    case Operation::kDot:
      return "dot";
    case Operation::kQueryL2Squared:
      return "query_l2_squared";
    case Operation::kQueryL1:
      return "query_l1";
    case Operation::kQueryDot:
      return "query_dot";
    case Operation::kQueryNibbles:
      return "query_nibbles";
  }
  return "";
}

void RegisterAll() {
  for (const CodeKernels* kernels : tandem::vec::AvailableCodeKernels()) {
    for (const std::size_t n : kDimensions) {
      const std::string suffix = std::string("/") + kernels->name + "/" + std::to_string(n);
      for (const bool hot : {true, false}) {
        const std::string prefix = hot ? "hot/" : "random/";
        for (const Operation operation : kBetweenCodes) {
          benchmark::RegisterBenchmark((prefix + Name(operation) + suffix).c_str(), BetweenCodes, *kernels,
                                       operation, n, hot);
        }
        for (const Operation operation : kWithQueries) {
          const std::string name = prefix + Name(operation) + suffix;
          benchmark::RegisterBenchmark((name + "/one").c_str(), WithQuery, *kernels, operation, n, hot, 1);
          benchmark::RegisterBenchmark((name + "/batch").c_str(), WithQuery, *kernels, operation, n, hot,
                                       kBatch);
        }
      }
      benchmark::RegisterBenchmark(("encode" + suffix).c_str(), Encode, *kernels, n);
      benchmark::RegisterBenchmark(("make_nibbles" + suffix).c_str(), MakeNibbles, *kernels, n);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
