# Fuzz targets from test/fuzz/<name>_fuzz.cpp, each defining LLVMFuzzerTestOneInput.
#
# Under the fuzz preset they are libFuzzer programs; `ctest` gives each a short run. Everywhere else a small main
# replays the corpus (test/fuzz/corpus/<name>/, if there) and seeded mutations of it, as a regression test.

file(GLOB fuzz_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/test/fuzz/*_fuzz.cpp)
foreach(source IN LISTS fuzz_sources)
  get_filename_component(target ${source} NAME_WE)
  string(REGEX REPLACE "_fuzz$" "" name ${target})
  set(corpus ${PROJECT_SOURCE_DIR}/test/fuzz/corpus/${name})
  if(NOT IS_DIRECTORY ${corpus})
    set(corpus)
  endif()

  add_executable(${target} ${source})
  target_link_libraries(${target} PRIVATE tandem_core tandem_flags)
  if(TANDEM_LIBFUZZER)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    # New inputs go to the first folder named: one of the build, never the source tree.
    set(found ${PROJECT_BINARY_DIR}/corpus/${name})
    file(MAKE_DIRECTORY ${found})
    add_test(NAME fuzz.${name} COMMAND ${target} -max_total_time=20 -timeout=100 ${found} ${corpus})
  else()
    target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/cmake/fuzz_replay.cpp)
    add_test(NAME fuzz.${name} COMMAND ${target} ${corpus})
  endif()
  set_tests_properties(fuzz.${name} PROPERTIES TIMEOUT 300)
endforeach()
