# The required option `command` is not set.
job "no_command" {
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
        args = ["hello"]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
