cdef struct Covariance:
    double* pp
    double* pv
    double* vv


cdef struct Drift:  # tracker.velocity.Drift
    double velocity[2]
    double variance[2]
    double squares[2]
    double time2


cdef struct Detector:  # tracker.velocity.Noise
    double squares[2]
    double count


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
    cdef double* place[4]
    cdef double* speed[4]
    cdef Covariance of_centre
    cdef Covariance of_size
    cdef Drift drift
    cdef Detector detector
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
    cdef double* noise_scale
    cdef double* wrong[4]
    cdef Py_ssize_t room
    cdef double interval_s
    cdef double step_variance[4]
    cdef double start_variance[4]

    cdef int reserve(self, Py_ssize_t n) except -1
    cdef void lay_out(self) noexcept
    cdef void arrange(self, const Py_ssize_t* order, Py_ssize_t n, Py_ssize_t n_seen) noexcept
    cdef void corners(self, Py_ssize_t i, double* box) noexcept
    cdef Py_ssize_t start(self, const double* box) noexcept
    cdef void predict(self, double dt_s, bint moves_new) noexcept
    cdef void correct(self, Py_ssize_t i, const double* box) noexcept
    cdef void begin_following(self, Py_ssize_t i, const double* box, double score) noexcept
    cdef void pass_time(self, double dt_s) noexcept
    cdef void note(self, Py_ssize_t i, const double* box, double score) noexcept
    cdef void follow(self, double dt_s) noexcept
    cdef double settle(self, Py_ssize_t i, int first, Covariance cov, double usual) noexcept
    cdef void motion(self, Py_ssize_t i, float* velocity, float* std_px, float* std_px_s) noexcept
    cdef void cut(self) noexcept
    cdef void clear(self) noexcept
