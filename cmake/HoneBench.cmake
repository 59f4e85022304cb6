# bench/: the program behind the figures of the documents, built with everything
# else so that no change breaks it unseen. oneDNN (libdnnl-dev, version 2)
# is used where it is installed; its own CMake package is not asked, since it
# fails without OpenCL's headers, which Debian's package only recommends.
set(bench_dir ${CMAKE_SOURCE_DIR}/bench)
file(GLOB bench_sources CONFIGURE_DEPENDS ${bench_dir}/*.c)
find_file(DNNL_VERSION_HEADER oneapi/dnnl/dnnl_version.h)
find_library(DNNL_LIBRARY dnnl)
set(bench_onednn OFF)
if(DNNL_VERSION_HEADER AND DNNL_LIBRARY)
    file(STRINGS ${DNNL_VERSION_HEADER} dnnl_major REGEX "DNNL_VERSION_MAJOR 2$")
    if(dnnl_major)
        set(bench_onednn ON)
    endif()
endif()
if(NOT bench_onednn)
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
if(bench_onednn)
    target_link_libraries(bench PRIVATE ${DNNL_LIBRARY})
    target_compile_definitions(bench PRIVATE BENCH_ONEDNN)
endif()
