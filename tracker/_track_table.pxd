cdef struct Covariance:
    double* pp
    double* pv
    double* vv


cdef enum:  # what the filter measures
    CX = 0
    CY = 1
    ASPECT = 2
    HEIGHT = 3


cdef enum:  # tracker.track_table.TrackState
    NEW = 0
    TRACKED = 1
    LOST = 2
    REMOVED = 3


cdef class TrackTable:
    cdef Py_ssize_t n, n_seen
    cdef double* position[4]
    cdef double* velocity[4]
    cdef Covariance shared
    cdef Covariance aspect
    cdef double* score
    cdef double* vote
    cdef double* last_seen_s
    cdef long long* track_id
    cdef long long* class_id
    cdef long long* state
    cdef long long* start_frame
    cdef long long* last_frame
    cdef long long* detection_row
    cdef long long* was_removed

    cdef char* memory
    cdef char* spare
    cdef double* step_s
    cdef double* scale
    cdef Py_ssize_t room
    cdef double interval_s
    cdef double step_variance[4]
    cdef double start_variance[4]

    cdef int reserve(self, Py_ssize_t n) except -1
    cdef void lay_out(self) noexcept
    cdef void arrange(self, const Py_ssize_t* order, Py_ssize_t n, Py_ssize_t n_seen) noexcept
    cdef void corners(self, Py_ssize_t i, double* box) noexcept
    cdef void corner_velocity(self, Py_ssize_t i, double* velocity) noexcept
    cdef Py_ssize_t start(self, const double* box) noexcept
    cdef void predict(self, double dt_s, bint moves_new) noexcept
    cdef void correct(self, Py_ssize_t i, const double* box) noexcept
