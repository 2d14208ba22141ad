# Micro-benches from bench/micro/<name>_bench.cpp; run them from the release preset.

find_package(benchmark QUIET)
if(benchmark_FOUND)
  file(GLOB bench_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/micro/*_bench.cpp)
  foreach(source IN LISTS bench_sources)
    get_filename_component(target ${source} NAME_WE)
    add_executable(${target} ${source})
    target_link_libraries(${target} PRIVATE tandem_core tandem_flags benchmark::benchmark)
    target_include_directories(${target} SYSTEM PRIVATE ${hnswlib_include})  # the reference of build_bench
  endforeach()
else()
  message(STATUS "Google Benchmark not found (libbenchmark-dev): the micro-benches are left out")
endif()
