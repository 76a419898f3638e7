/* Nobody traces. */
#define trace_igvm_file_loaded(filename, handle) ((void)(filename))
#define trace_igvm_process_file(handle, only_contexts) ((void)(only_contexts))
