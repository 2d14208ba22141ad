#pragma once
// Finds the node that already has a row's code (hazard H23): open addressing over node ordinals, codes stay where they are.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace tandem::graph {

/// Spreads a code over 64 bits; equal codes, equal hashes.
[[nodiscard]] inline std::uint64_t HashOfCode(const std::uint8_t* code, std::size_t bytes) noexcept {
  // Multiply and fold, eight bytes at a time; the constants are the first digits of e and of the golden ratio.
  constexpr std::uint64_t kFirst = 0x2B7E151628AED2A7;
  constexpr std::uint64_t kSecond = 0x9E3779B97F4A7C15;
  std::uint64_t hash = bytes * kSecond;
  for (; bytes > 0; bytes -= bytes < 8 ? bytes : 8) {
    std::uint64_t chunk = 0;
    std::memcpy(&chunk, code, bytes < 8 ? bytes : 8);
    code += 8;
    hash = (hash ^ chunk) * kFirst;
    hash ^= hash >> 32;
  }
  return hash * kSecond;
}

/// Node ordinals by their codes' hashes. Sized once: linear probing stays short as long as no more than `max_nodes` come.
class CodeTable {
 public:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  explicit CodeTable(std::size_t max_nodes) : entries_(Entries(max_nodes), Entry{kNone, 0}) {}

  /// The node for which is_equal(node) holds, or kNone: then `node` has been entered. is_equal is asked about nodes whose
  /// hashes agree in 32 bits.
  template <typename IsEqual>
  [[nodiscard]] std::uint32_t FindOrInsert(std::uint64_t hash, std::uint32_t node, IsEqual is_equal) {
    const auto tag = static_cast<std::uint32_t>(hash);
    std::size_t at = static_cast<std::size_t>(((hash >> 32) * entries_.size()) >> 32);
    while (entries_[at].node != kNone) {
      if (entries_[at].tag == tag && is_equal(entries_[at].node)) return entries_[at].node;
      if (++at == entries_.size()) at = 0;
    }
    entries_[at] = Entry{node, tag};
    return kNone;
  }

  [[nodiscard]] static std::size_t MemoryBytes(std::size_t max_nodes) noexcept {
    return Entries(max_nodes) * sizeof(Entry);
  }

 private:
  struct Entry {
    std::uint32_t node;
    std::uint32_t tag;
  };

  /// Two thirds full at most: two probes for a hit, five for a miss (Knuth 6.4, algorithm L).
  [[nodiscard]] static constexpr std::size_t Entries(std::size_t max_nodes) noexcept {
    return max_nodes + max_nodes / 2 + 8;
  }

  std::vector<Entry> entries_;
};

}  // namespace tandem::graph
