# The working directory does not exist.
job "bad_work_dir" {
  type = "batch"

  group "group" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    task "task" {
      driver = "trio"
      config {
        command  = "/bin/true"
        work_dir = "/no/such/directory"
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
