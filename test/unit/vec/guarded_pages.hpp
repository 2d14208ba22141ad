#pragma once
// Memory in which a read or write outside ends the program.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace tandem::vec::test {

/// Pages with an inaccessible one on either side.
class GuardedPages {
 public:
  explicit GuardedPages(std::size_t pages)
      : page_bytes_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))), usable_bytes_(pages * page_bytes_) {
    mapping_ = mmap(nullptr, usable_bytes_ + 2 * page_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping_ == MAP_FAILED || mprotect(begin(), usable_bytes_, PROT_READ | PROT_WRITE) != 0) std::abort();
  }
  ~GuardedPages() { munmap(mapping_, usable_bytes_ + 2 * page_bytes_); }
  GuardedPages(const GuardedPages&) = delete;
  GuardedPages& operator=(const GuardedPages&) = delete;

  [[nodiscard]] char* begin() const { return static_cast<char*>(mapping_) + page_bytes_; }

  /// Copies `values` so that the last one touches the upper guard page.
  template <typename T>
  [[nodiscard]] T* AtTheEnd(const T* values, std::size_t n) const {
    void* place = begin() + usable_bytes_ - n * sizeof(T);
    return static_cast<T*>(std::memcpy(place, values, n * sizeof(T)));
  }

  /// Copies `values` so that the first one touches the lower guard page.
  template <typename T>
  [[nodiscard]] T* AtTheBeginning(const T* values, std::size_t n) const {
    return static_cast<T*>(std::memcpy(begin(), values, n * sizeof(T)));
  }

 private:
  std::size_t page_bytes_;
  std::size_t usable_bytes_;
  void* mapping_;
};

}  // namespace tandem::vec::test
