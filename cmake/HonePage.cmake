# The page of `hone eval --html` becomes part of the evaluation's layer, so that an installed program needs no files.
# Chart.js (Debian's libjs-chart.js) is taken along where it is installed; without it pages have their tables alone.
set(page_dir ${CMAKE_SOURCE_DIR}/src/eval/page)
find_file(HONE_CHART_JS NAMES chart.min.js chart.umd.js PATHS /usr/share/javascript/chart.js NO_DEFAULT_PATH
    NO_CMAKE_FIND_ROOT_PATH)
set(chart_js ${HONE_CHART_JS})
if(NOT HONE_CHART_JS)
    message(STATUS "Chart.js is not here (libjs-chart.js): pages of `hone eval --html` will have no charts")
    set(chart_js ${CMAKE_BINARY_DIR}/texts/no_charts.js)
    file(WRITE ${chart_js} "")
endif()
hone_add_text(eval ${page_dir}/evaluation.html hone_page_file_evaluation)
hone_add_text(eval ${page_dir}/style.css hone_page_file_style)
hone_add_text(eval ${page_dir}/helpers.js hone_page_file_helpers)
hone_add_text(eval ${chart_js} hone_page_file_charts)
foreach(part evaluation style helpers charts)
    # UTF-8 in arrays of char
    set_source_files_properties(${CMAKE_BINARY_DIR}/texts/hone_page_file_${part}.c PROPERTIES COMPILE_OPTIONS
        -Wno-overflow)
endforeach()
