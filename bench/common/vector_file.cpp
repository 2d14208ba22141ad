#include "common/vector_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace tandem::bench {

namespace {

[[noreturn]] void Fail(const std::string& path, const std::string& what) {
  throw std::runtime_error(path + ": " + what);
}

}  // namespace

template <typename T>
VectorFile<T>::VectorFile(const std::string& path, std::size_t offset, std::size_t limit) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) Fail(path, std::strerror(errno));
  struct stat info {};
  if (fstat(fd, &info) != 0 || info.st_size < 8) {
    close(fd);
    Fail(path, "not an fvecs or ivecs file");
  }
  map_bytes_ = static_cast<std::size_t>(info.st_size);
  map_ = mmap(nullptr, map_bytes_, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (map_ == MAP_FAILED) Fail(path, std::strerror(errno));

  std::int32_t width = 0;
  std::memcpy(&width, map_, sizeof width);
  const std::size_t row_bytes = 4 * (static_cast<std::size_t>(std::max(width, 0)) + 1);
  if (width <= 0 || map_bytes_ % row_bytes != 0) {
    munmap(map_, map_bytes_);
    Fail(path, "not a whole number of rows of equal width");
  }
  const std::size_t total = map_bytes_ / row_bytes;
  if (offset >= total) {
    munmap(map_, map_bytes_);
    Fail(path, "no rows after offset " + std::to_string(offset));
  }
  width_ = static_cast<std::size_t>(width);
  rows_ = limit == 0 ? total - offset : std::min(limit, total - offset);
  first_ = static_cast<const T*>(map_) + offset * (width_ + 1);
}

template <typename T>
VectorFile<T>::~VectorFile() {
  munmap(map_, map_bytes_);
}

template <typename T>
VectorFileWriter<T>::VectorFileWriter(const std::string& path)
    : path_(path), file_(std::fopen(path.c_str(), "wb")) {
  if (file_ == nullptr) Fail(path_, std::strerror(errno));
}

template <typename T>
VectorFileWriter<T>::~VectorFileWriter() {
  if (file_ != nullptr) std::fclose(file_);
}

template <typename T>
void VectorFileWriter<T>::Append(Span<const T> row) {
  const auto width = static_cast<std::int32_t>(row.size());
  if (std::fwrite(&width, sizeof width, 1, file_) != 1 ||
      std::fwrite(row.data(), sizeof(T), row.size(), file_) != row.size()) {
    Fail(path_, std::strerror(errno));
  }
}

template <typename T>
void VectorFileWriter<T>::Close() {
  std::FILE* file = file_;
  file_ = nullptr;
  if (std::fclose(file) != 0) Fail(path_, std::strerror(errno));
}

template class VectorFile<float>;
template class VectorFile<std::int32_t>;
template class VectorFileWriter<float>;
template class VectorFileWriter<std::int32_t>;

}  // namespace tandem::bench
