# Takes more memory than its limit.
job "out_of_memory" {
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
        command = "/usr/bin/tail"
        args    = ["/dev/zero"]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
