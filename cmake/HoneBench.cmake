# bench/: the program behind the figures of the documents, built with everything
# else so that no change breaks it unseen. oneDNN (libdnnl-dev, version 2)
# is used where it is installed.
set(bench_dir ${CMAKE_SOURCE_DIR}/bench)
file(GLOB bench_sources CONFIGURE_DEPENDS ${bench_dir}/*.c)
find_package(dnnl 2 QUIET)
if(NOT TARGET DNNL::dnnl)
    list(REMOVE_ITEM bench_sources ${bench_dir}/onednn.c)
endif()
add_executable(bench ${bench_sources})
set_target_properties(bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
list(GET HONE_BUILT_LAYERS 0 top_layer)
target_link_libraries(bench PRIVATE hone_${top_layer} PkgConfig::POPT)
target_compile_definitions(bench PRIVATE
    BENCH_HONE="${CMAKE_BINARY_DIR}/hone" BENCH_FOLDER="${CMAKE_BINARY_DIR}/bench"
    BENCH_PAGE="${bench_dir}/page.html" BENCH_PEER="${CMAKE_SOURCE_DIR}/peers/torch_lora.py"
    BENCH_FLAGS="${CMAKE_BUILD_TYPE}")
if(TARGET hone)
    add_dependencies(bench hone)
endif()
if(TARGET DNNL::dnnl)
    target_link_libraries(bench PRIVATE DNNL::dnnl)
    target_compile_definitions(bench PRIVATE BENCH_ONEDNN)
endif()
